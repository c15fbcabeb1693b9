# How much the tests try, by the variables that the tests read. To be sourced; script/soak sets larger ones.
# shellcheck shell=bash

# Schedules of the simulation, and the seed of the first; schedule i has the seed of the first plus i.
export REFOLD_SIM_SCHEDULES=${REFOLD_SIM_SCHEDULES:-10000}
export REFOLD_SIM_SEED=${REFOLD_SIM_SEED:-1}
# How often the real binary is killed in the middle.
export REFOLD_KILLS=${REFOLD_KILLS:-5}
# How often each broker is killed in the middle.
export REFOLD_BROKER_KILLS=${REFOLD_BROKER_KILLS:-3}
# How many registrations race for how many names.
export REFOLD_REGISTRATIONS=${REFOLD_REGISTRATIONS:-400}
export REFOLD_REGISTRATIONS_NAMES=${REFOLD_REGISTRATIONS_NAMES:-10}
# Where the servers that tests start write: in memory where there is room. No test takes the power away, and what a killed server
# has written is there as it is on a disk.
if [[ -z ${REFOLD_TEST_SERVERS:-} && -w /dev/shm && $(df --output=avail -k /dev/shm | tail -n 1) -gt 4194304 ]]; then
  export REFOLD_TEST_SERVERS=/dev/shm
fi
# Alerts that a hundred clients listen for.
export REFOLD_ALERTS=${REFOLD_ALERTS:-500}
# Cases of each property test.
export PROPTEST_CASES=${PROPTEST_CASES:-256}
# Examples of schemathesis for each operation, its seed, and the most seconds that it may take.
export REFOLD_HTTP_EXAMPLES=${REFOLD_HTTP_EXAMPLES:-30}
export REFOLD_HTTP_SEED=${REFOLD_HTTP_SEED:-1}
export REFOLD_HTTP_SECONDS=${REFOLD_HTTP_SECONDS:-300}
# REFOLD_HTTP_REPEAT_SECONDS, if set: schemathesis goes on fuzzing until so many seconds are over.
