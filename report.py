"""What a run achieved, for the eyes: accuracy, classes, labels to look at, hardest pictures, speed, in one HTML file.

    python report.py runs/demo                     writes runs/demo/report.html
    python report.py runs/demo --lang zh           in Chinese
    python report.py runs/demo --output /tmp/demo.html --suspects 500

The file needs nothing else and can be mailed. Labels that are wrong are ticked there and saved as corrections.csv, which the config
names next: data.corrections=corrections.csv. export_openvino.py writes the report by itself; after e4.py alone it shows what the
teacher has found.
"""

import argparse
from pathlib import Path

from common.files import check_writable
from reports.page import write_report
from reports.words import LANGUAGES
from utils import session


def main(argv=None):
    args = parse(argv)
    run = session.reopen(args.run_dir, ("student", "teacher"))
    path = args.output or run.folder.report
    check_writable(path.parent)
    write_report(run, path, args.lang, args.suspects)


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir", help="the run's folder, such as runs/demo")
    parser.add_argument("--lang", choices=LANGUAGES, default="en", help="language of the report (default: %(default)s)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: report.html in the run's folder")
    parser.add_argument(
        "--suspects",
        type=session.positive,
        default=200,
        metavar="N",
        help="labels to look at that are shown (default: %(default)s)",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    session.run_script(main)
