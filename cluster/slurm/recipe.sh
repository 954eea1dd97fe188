#!/bin/bash
# The whole recipe on Slurm: the teacher's folds side by side, then their table, the student and its export.
#
#     bash cluster/slurm/recipe.sh runs/mine mine.py [--cfg-options KEY=VALUE ...]
#
# The run's folder, then what e4.py and m11.py are given. FOLDS=3: where teacher.num_folds is not 5. What the cluster asks for stands
# in variables that sbatch reads, such as SBATCH_PARTITION, SBATCH_ACCOUNT, SBATCH_TIMELIMIT, and SBATCH_GPUS=1 for a GPU each.

set -euo pipefail

run=${1:?the run folder is missing}
shift
arguments="${*@Q}"

submit() { sbatch --parsable --kill-on-invalid-dep=yes "${@:1:$#-1}" cluster/slurm/job.sbatch "${@: -1}"; }

folds=$(submit --job-name=folds --array="0-$((${FOLDS:-5} - 1))" "python e4.py $arguments --fold \$SLURM_ARRAY_TASK_ID")
table=$(submit --job-name=merge --dependency="afterok:$folds" "python e4.py $arguments --merge")
student=$(submit --job-name=student --dependency="afterok:$table" "python m11.py $arguments")
export=$(submit --job-name=export --dependency="afterok:$student" "python export_openvino.py ${run@Q}")
echo "folds $folds, merge $table, student $student, export $export; look: squeue --me, slurm-*.out; end: scancel $folds $table $student $export"
