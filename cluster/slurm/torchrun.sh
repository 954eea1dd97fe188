#!/bin/bash
# One training on several machines of a Slurm cluster: a torchrun on each, with a process for each of its GPUs.
#
#     bash cluster/slurm/torchrun.sh 2 4 m11.py mine.py         2 machines with 4 GPUs each
#
# Then the script and what it is given. SBATCH_PARTITION and so on as for recipe.sh.

set -euo pipefail

nodes=${1:?the number of machines is missing} gpus=${2:?the number of GPUs of each is missing}
shift 2

sbatch --job-name=torchrun --nodes="$nodes" --ntasks-per-node=1 --gpus-per-node="$gpus" cluster/slurm/job.sbatch \
    "srun --kill-on-bad-exit torchrun --nnodes=$nodes --nproc_per_node=$gpus --rdzv_backend=c10d --rdzv_id=\$SLURM_JOB_ID \
--rdzv_endpoint=\$(scontrol show hostnames \"\$SLURM_JOB_NODELIST\" | head -n 1):\$((20000 + SLURM_JOB_ID % 10000)) ${*@Q}"
