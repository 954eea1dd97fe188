"""Slurm scripts and the Kubernetes job: what they hand in is what the scripts take, and a job that is interrupted goes on."""

import importlib
import os
import shlex
import signal
import subprocess

import pytest
import yaml
from helpers import REPO

SBATCH = '#!/bin/bash\nprintf "%s\\0" "$@" >> {folder}/sbatch; printf "\\n" >> {folder}/sbatch; wc -l < {folder}/sbatch\n'
ARGUMENTS = ["my configs/mine.py", "--cfg-options", "name=it's mine", "data.root=/my $HOME"]


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Write programs that stand in for Slurm's: {name: bash}."""

    def write(**texts):
        for name, text in texts.items():
            path = tmp_path / "bin" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text.format(folder=tmp_path), encoding="utf-8")
            path.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return write


def submitted(tmp_path, programs, *command):
    """[(sbatch's options, the job's command)] that a script hands in."""
    programs(sbatch=SBATCH)
    subprocess.run(["bash", *command], cwd=REPO, check=True)
    jobs = [line.split("\0")[:-1] for line in (tmp_path / "sbatch").read_text(encoding="utf-8").splitlines()]
    for job in jobs:
        assert (REPO / job[-2]).is_file()
    return [(job[:-2], job[-1]) for job in jobs]


def as_started(tmp_path, programs, command, **variables):
    """What the program that a job's `command` starts is given, by Slurm's `variables`."""
    programs(python='#!/bin/bash\nprintf "%s\\0" "$@" > {folder}/given\n')
    subprocess.run(["bash", "-c", command], check=True, env=os.environ | variables)
    return (tmp_path / "given").read_text(encoding="utf-8").split("\0")[:-1]


def parsed(script, *arguments):
    return importlib.import_module(script.removesuffix(".py")).parse(arguments)


def test_recipe_on_slurm_is_a_chain_whose_commands_the_scripts_take(tmp_path, programs):
    (folds, fold), (merge, table), (student, train), (export, deploy) = submitted(
        tmp_path, programs, "cluster/slurm/recipe.sh", "runs/it's mine", *ARGUMENTS
    )
    assert "--array=0-4" in folds
    assert [job[-1] for job in (merge, student, export)] == [f"--dependency=afterok:{before}" for before in (1, 2, 3)]
    args = parsed(*as_started(tmp_path, programs, fold, SLURM_ARRAY_TASK_ID="3"))
    assert (args.fold, args.config, args.cfg_options) == (3, ARGUMENTS[0], ARGUMENTS[2:])
    assert parsed(*as_started(tmp_path, programs, table)).merge
    assert as_started(tmp_path, programs, train) == ["m11.py", *ARGUMENTS]
    assert parsed(*as_started(tmp_path, programs, deploy)).run_dir == "runs/it's mine"


def test_study_on_slurm_gives_each_job_its_share_and_reports_whatever_came_of_them(tmp_path, programs):
    axis = "student.lr=1e-3,5e-4 | student.mixing=none"
    (array, shard), (report, table) = submitted(tmp_path, programs, "cluster/slurm/study.sh", "3", "mine.py", "--axis", axis)
    assert "--array=0-2" in array
    assert "--dependency=afterany:1" in report
    args = parsed(*as_started(tmp_path, programs, shard, SLURM_ARRAY_TASK_ID="2"))
    assert (args.shard, args.axis, args.report) == ((2, 3), [axis], False)
    assert parsed(*as_started(tmp_path, programs, table)).report


def test_torchrun_on_slurm_names_machines_processes_and_one_meeting_point(tmp_path, programs):
    [(options, command)] = submitted(tmp_path, programs, "cluster/slurm/torchrun.sh", "2", "4", "m11.py", *ARGUMENTS)
    assert {"--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=4"} <= set(options)
    programs(srun='#!/bin/bash\nprintf "%s\\0" "$@" > {folder}/given\n', scontrol="#!/bin/bash\nprintf 'a7\\na8\\n'\n")
    subprocess.run(["bash", "-c", command], check=True, env=os.environ | {"SLURM_JOB_ID": "12", "SLURM_JOB_NODELIST": "a[7-8]"})
    given = (tmp_path / "given").read_text(encoding="utf-8").split("\0")[:-1]
    assert {"--nnodes=2", "--nproc_per_node=4", "--rdzv_id=12", "--rdzv_endpoint=a7:20012"} <= set(given)
    assert given[-5:] == ["m11.py", *ARGUMENTS]


def job(command):
    return ["bash", REPO / "cluster/slurm/job.sbatch", command]


def test_job_whose_time_is_up_goes_back_into_the_queue(tmp_path, programs):
    programs(scontrol='#!/bin/bash\necho "$@" > {folder}/asked; kill $(cat {folder}/running)\n')
    command = f"echo $$ > {tmp_path}/running; echo begun; exec sleep 60"
    environment = os.environ | {"SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "1"}
    with subprocess.Popen(job(command), env=environment, stdout=subprocess.PIPE, text=True) as process:
        while process.stdout.readline() != "begun\n":
            pass
        process.send_signal(signal.SIGUSR1)
        process.communicate(timeout=30)
    assert (tmp_path / "asked").read_text(encoding="utf-8").split() == ["requeue", "7"]


def test_job_fails_where_its_command_does():
    environment = os.environ | {"SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "1"}
    assert subprocess.run(job("exit 3"), env=environment, check=False).returncode == 3
    assert subprocess.run(job("true"), env=environment, check=False).returncode == 0


@pytest.fixture
def rayjob():
    """The RayJob's specification and all its pods."""
    claim, job = yaml.safe_load_all((REPO / "cluster/kuberay.yaml").read_text(encoding="utf-8"))
    cluster = job["spec"]["rayClusterSpec"]
    pods = [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
    return claim, job["spec"], pods


def test_pods_share_one_image_and_the_claimed_disk_at_one_path(rayjob):
    claim, _, pods = rayjob
    containers = [container for pod in pods for container in pod["containers"]]
    assert len({container["image"] for container in containers}) == 1
    assert all(container["volumeMounts"] == containers[0]["volumeMounts"] for container in containers)
    [mount] = containers[0]["volumeMounts"]
    for pod in pods:
        assert pod["volumes"] == [{"name": mount["name"], "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}}]


def test_workers_have_what_the_job_asks_for_each_fold(rayjob):
    _, spec, (_, worker) = rayjob
    python, script, *arguments = shlex.split(spec["entrypoint"])
    assert (python, script) == ("python", "/project/e4.py")
    args = parsed("e4.py", *arguments)
    limits = worker["containers"][0]["resources"]["limits"]
    assert (args.ray, args.cpus, args.gpus) == ("auto", limits["cpu"], limits["nvidia.com/gpu"])


def test_image_has_the_version_of_ray_that_the_job_names(rayjob):
    version = rayjob[1]["rayClusterSpec"]["rayVersion"]
    assert f"=={version}" in (REPO / "requirements-ray.txt").read_text(encoding="utf-8")
