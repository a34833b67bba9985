# Ends processes in the container of a sandbox: `sh -c … end SIGNAL [MARK]`.
#
# With a mark, those that one command has started. Its first process, an init process whose command line
# begins with the mark, adopts all that it starts. That process is stopped, since it would end with its
# command, and the orphans be the sandbox's. Without a mark, all but what keeps the container.
#
# Writes a line when it has sent its signal for the first time, and ends when nothing is left.
#
# Needs nothing of the image but `sleep`.

signal=$1 mark=$2
root=

# All processes as `pid:parent:state`, and in `roots` those that come from outside of the container.
look() {
  all= roots=
  for directory in /proc/[0-9]*; do
    parent= state=
    while read -r key value _; do
      case $key in
        State:) state=$value ;;
        PPid:) parent=$value && break ;;
      esac
    done <"$directory/status"
    case $parent in
      '') ;;
      0) roots="$roots ${directory#/proc/}" ;;
      *) all="$all ${directory#/proc/}:$parent:$state" ;;
    esac
  done
} 2>/dev/null

# Sets `root` to the process with the mark.
find_root() {
  for pid in $roots; do
    line=
    # The zeros between the arguments are left out.
    IFS= read -r line <"/proc/$pid/cmdline"
    case $line in "$mark"*) root=$pid ;; esac
  done
} 2>/dev/null

# Sets `found` to the processes below these that have not ended.
below() {
  tree=" $* " found= more=1
  while [ -n "$more" ]; do
    more=
    for process in $all; do
      pid=${process%%:*} parent=${process#*:} state=${process##*:}
      parent=${parent%:*}
      case $tree in
        *" $pid "*) ;;
        *" $parent "*)
          tree="$tree$pid " more=1
          case $state in Z | X) ;; *) found="$found $pid" ;; esac
          ;;
      esac
    done
  done
}

# The first child that the container's first process ever had is the one with the lowest number.
without_keeper() {
  keeper=
  for process in $all; do
    case $process in
      *:1:*) [ "${process%%:*}" -lt "${keeper:-99999999}" ] && keeper=${process%%:*} ;;
    esac
  done
  rest=
  for pid in $found; do
    [ "$pid" = "$keeper" ] || rest="$rest $pid"
  done
  found=$rest
}

pause() { sleep 0.02 || sleep 1; } 2>/dev/null

if [ -n "$mark" ]; then
  # It may be about to start.
  tries=0
  while look && find_root && [ -z "$root" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || exit 1
    pause
  done
  kill -s STOP "$root" 2>/dev/null
fi

asked=' ' told=
while look; do
  if [ -n "$mark" ]; then
    below "$root"
  else
    below $roots
    without_keeper
  fi
  [ -n "$found" ] || break
  for pid in $found; do
    case $signal$asked in TERM*" $pid "*) continue ;; esac
    asked="$asked$pid "
    kill -s "$signal" "$pid"
    # A stopped process would not see it.
    kill -s CONT "$pid"
  done 2>/dev/null
  [ -n "$told" ] || echo sent
  told=1
  pause
done

[ -z "$root" ] || kill -s KILL "$root" 2>/dev/null
exit 0
