#!/bin/bash
# A study on Slurm: each job of an array trains every N-th trial, and when the last has ended a report tabulates them.
#
#     bash cluster/slurm/study.sh 4 mine.py --axis student.mixing=cutmix,mixup,none
#
# The number of jobs, then what ablate.py is given. SBATCH_PARTITION, SBATCH_GPUS=1 and so on as for recipe.sh.

set -euo pipefail

count=${1:?the number of jobs is missing}
shift
arguments="${*@Q}"

shards=$(sbatch --parsable --job-name=study --array="0-$((count - 1))" cluster/slurm/job.sbatch \
    "python ablate.py $arguments --shard \$SLURM_ARRAY_TASK_ID/$count")
sbatch --job-name=report --dependency="afterany:$shards" cluster/slurm/job.sbatch "python ablate.py $arguments --report"
