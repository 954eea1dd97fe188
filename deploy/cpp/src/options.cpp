#include "options.h"

#include <getopt.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "paths.h"

namespace deploy {
namespace {

const char* const HELP =
    "Classify pictures with an exported network (OpenVINO IR).\n"
    "\n"
    "  classify --model model.xml PICTURE|DIR|LIST.txt...\n"
    "\n"
    "  --model FILE         model.xml, with model.bin and (if there is one) labels.txt beside it\n"
    "  --device NAME        OpenVINO device (default: CPU)\n"
    "  --threads N          threads for decoding, and as many for inference (default: all cores)\n"
    "  --cache FOLDER       keeps the compiled network, for a faster start next time; '' for nowhere (default: classify/ in\n"
    "                       $XDG_CACHE_HOME or ~/.cache)\n"
    "  --batch-files WHAT   what to classify, the same as naming it without the option: pictures, folders (all files\n"
    "                       below, in the order of their names) and .txt files with one path a line\n"
    "  --list FILE          the paths in FILE, one a line, whatever its name ends in\n"
    "  --max-pixels N       larger pictures are refused before they are decoded (default: 200000000)\n"
    "  --reject X           the class is 'unknown' where the confidence is below X, 0 to 1; 0: never (default: as exported)\n"
    "  --output csv|json    csv (default): path, class, confidence, p_<class>..., error; json: a list of objects\n"
    "  --benchmark          measure speed on these pictures instead, as a table or (--output json) as an object\n"
    "  --seconds S          how long each measurement lasts (default: 5)\n"
    "\n"
    "Results go to standard output in the order of the pictures. A file that cannot be read is a row with the reason.\n"
    "Exit status: 0 if at least one picture was classified, 1 if none was or nothing could be done, 2 for a wrong command;\n"
    "after Ctrl-C 130: the rows that are there are whole, and the JSON list is closed.\n";

enum { MODEL = 256, DEVICE, THREADS, CACHE, BATCH_FILES, LIST, MAX_PIXELS_OF, REJECT, OUTPUT, BENCHMARK, SECONDS };

const option OPTIONS[] = {
    {"model", required_argument, nullptr, MODEL},
    {"device", required_argument, nullptr, DEVICE},
    {"threads", required_argument, nullptr, THREADS},
    {"cache", required_argument, nullptr, CACHE},
    {"batch-files", required_argument, nullptr, BATCH_FILES},
    {"list", required_argument, nullptr, LIST},
    {"max-pixels", required_argument, nullptr, MAX_PIXELS_OF},
    {"reject", required_argument, nullptr, REJECT},
    {"output", required_argument, nullptr, OUTPUT},
    {"benchmark", no_argument, nullptr, BENCHMARK},
    {"seconds", required_argument, nullptr, SECONDS},
    {"help", no_argument, nullptr, 'h'},
    {nullptr, 0, nullptr, 0},
};

double number(const char* name, double lowest, double highest, bool whole = false) {
    char* end = nullptr;
    double value = std::strtod(optarg, &end);
    if (end == optarg || *end || !(value >= lowest && value <= highest) || (whole && value != std::floor(value)))
        throw UsageError{std::string("--") + name + " takes a " + (whole ? "whole " : "") + "number from " + std::to_string(int(lowest)) +
                         " to " + std::to_string(int(highest)) + ", not '" + optarg + "'."};
    return value;
}

size_t whole_number(const char* name, double lowest, double highest) { return size_t(number(name, lowest, highest, true)); }

void append(std::vector<std::string>& list, const std::vector<std::string>& more) { list.insert(list.end(), more.begin(), more.end()); }

}  // namespace

Options parse_options(int argc, char** argv) {
    Options options;
    // The leading dash: other arguments come in their place among the options, as if they were of option 1.
    for (int which; (which = getopt_long(argc, argv, "-h", OPTIONS, nullptr)) != -1;) {
        switch (which) {
            case MODEL: options.model = optarg; break;
            case DEVICE: options.device = optarg; break;
            case THREADS: options.threads = int(whole_number("threads", 0, 1024)); break;
            case CACHE: options.cache = optarg; break;
            case 1:
            case BATCH_FILES: append(options.pictures, list_pictures({optarg})); break;
            case LIST: append(options.pictures, read_list(optarg)); break;
            case MAX_PIXELS_OF: options.max_pixels = whole_number("max-pixels", 1, 1 << 30); break;
            case REJECT: options.reject_below = float(number("reject", 0, 1)); break;
            case OUTPUT: options.output = optarg; break;
            case BENCHMARK: options.benchmark = true; break;
            case SECONDS: options.seconds = number("seconds", 0, 3600); break;
            case 'h': std::fputs(HELP, stdout); std::exit(std::fflush(stdout) == 0 ? 0 : 1);
            default: throw UsageError{"See classify --help."};
        }
    }
    while (optind < argc) append(options.pictures, list_pictures({argv[optind++]}));  // behind a "--"
    if (options.model.empty()) throw UsageError{"--model is missing: name the model.xml that export_openvino.py wrote."};
    if (options.output != "csv" && options.output != "json") throw UsageError{"--output is csv or json, not '" + options.output + "'."};
    if (options.pictures.empty()) throw UsageError{"there are no pictures: name files, folders or a list of paths."};
    return options;
}

}  // namespace deploy
