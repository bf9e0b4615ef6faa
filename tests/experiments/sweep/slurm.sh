#!/usr/bin/env bash
# A real Slurm of one node on this machine, for test_launchers.py: slurm.sh up | down.
#
# It needs root on a Debian or Ubuntu that nobody else uses, such as a container, and asks no systemd. `up` installs the
# packages slurm-wlm, munge, slurmdbd and mariadb-server, overwrites /etc/slurm/slurm.conf and slurmdbd.conf, starts
# munged, mariadbd, slurmdbd, slurmctld and slurmd, and makes the database slurm_acct_db. `down` stops the five.
# Without accounting (slurmdbd) submitit waits for ever for a job that was killed.
set -euo pipefail

up() {
  export DEBIAN_FRONTEND=noninteractive
  command -v slurmd munged slurmdbd mariadbd >/dev/null ||
    apt-get install -y -qq --no-install-recommends slurm-wlm munge slurmdbd mariadb-server >/dev/null
  install -d -o munge -g munge -m 0755 /run/munge
  install -d -o munge -g munge -m 0700 /var/log/munge /var/lib/munge
  install -d -o mysql -g mysql /run/mysqld
  install -d /var/spool/slurmctld /var/spool/slurmd /var/log/slurm
  configure
  runuser -u munge -- /usr/sbin/munged
  setsid runuser -u mysql -- /usr/sbin/mariadbd --skip-networking --innodb-lock-wait-timeout=900 \
    >/var/log/slurm/mariadb.log 2>&1 </dev/null &
  await mariadb -e 'select 1'
  mariadb -e "create database if not exists slurm_acct_db; grant all on slurm_acct_db.* to 'slurm'@'localhost' identified by 'test'"
  /usr/sbin/slurmdbd
  await sacctmgr -n list cluster
  sacctmgr -n list cluster format=cluster | grep -qw test || sacctmgr -i add cluster test >/dev/null
  /usr/sbin/slurmctld
  /usr/sbin/slurmd
  await idle
  sinfo
}

down() {
  for daemon in slurmd slurmctld slurmdbd munge/munged; do
    [ ! -f "/run/$daemon.pid" ] || kill "$(cat "/run/$daemon.pid")" || true
  done
  mariadb-admin shutdown
}

configure() {
  local host
  host=$(hostname -s)
  (
    umask 077
    cat >/etc/slurm/slurmdbd.conf <<CONFIGURATION
AuthType=auth/munge
DbdHost=localhost
SlurmUser=root
LogFile=/var/log/slurm/slurmdbd.log
PidFile=/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StoragePass=test
StorageLoc=slurm_acct_db
CONFIGURATION
  )
  cat >/etc/slurm/slurm.conf <<CONFIGURATION
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile=/var/log/slurm/slurmctld.log
SlurmdLogFile=/var/log/slurm/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
JobRequeue=1
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=100000
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONFIGURATION
}

idle() { sinfo -h -o %T | grep -qx idle; }

await() {
  for _ in $(seq 60); do
    "$@" >/dev/null 2>&1 && return
    sleep 0.5
  done
  echo "slurm.sh: $* did not succeed within 30 s; see /var/log/slurm" >&2
  exit 1
}

case ${1:-} in
up | down) "$1" ;;
*) echo "usage: slurm.sh up | down" >&2 && exit 2 ;;
esac
