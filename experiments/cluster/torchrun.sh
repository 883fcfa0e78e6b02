#!/usr/bin/env bash
# One fit over the processes of one or several machines, by torchrun. Run it on every machine, the same words on each
# but for NODE; what stopped goes on when they are run again.
#
#   RUN=runs/paper-pc-clip/seed0 PROCESSES=8 NODES=2 NODE=0 HEAD=10.0.0.1:29500 experiments/cluster/torchrun.sh \
#     --config experiments/paper/pc_clip.yaml --config experiments/hardware/ddp.yaml --seed_everything 0
#
# RUN           folder of the run, RUNS/EXPERIMENT/VERSION, seen by all machines
# PROCESSES     per machine: its GPUs (1)
# NODES, NODE   number of machines (1), and which one this is (0)
# HEAD          address and free port of machine 0 (127.0.0.1:29500)
# GLOBAL_BATCH  triples per step over all processes; unset, data.batch_size is that of each process
# PYTHON        the interpreter that has pcclip (python)
set -euo pipefail

run=${RUN:?name the folder of the run: RUN=runs/EXPERIMENT/VERSION}
processes=${PROCESSES:-1} nodes=${NODES:-1} head=${HEAD:-127.0.0.1:29500}
words=(--trainer.devices="$processes" --trainer.num_nodes="$nodes")
if [[ -n ${GLOBAL_BATCH:-} ]]; then
  if ((GLOBAL_BATCH % (processes * nodes))); then
    echo "GLOBAL_BATCH=$GLOBAL_BATCH is no multiple of $nodes x $processes processes" >&2
    exit 2
  fi
  words+=(--data.batch_size=$((GLOBAL_BATCH / (processes * nodes))))
fi

# All machines look here before any of them starts: torchrun waits for all.
if [[ -f $run/config.yaml ]]; then
  command=(resume "$run" "${words[@]}")
else
  experiment=$(dirname "$run")
  place=(--runs="$(dirname "$experiment")" --experiment="$(basename "$experiment")" --version="$(basename "$run")")
  command=(fit "$@" "${place[@]}" "${words[@]}")
fi
exec "${PYTHON:-python}" -m torch.distributed.run --nnodes="$nodes" --node-rank="${NODE:-0}" \
  --nproc-per-node="$processes" --master-addr="${head%:*}" --master-port="${head##*:}" -m pcclip "${command[@]}"
