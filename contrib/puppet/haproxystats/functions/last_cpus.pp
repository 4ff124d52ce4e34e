# @summary The last CPUs of a machine, as many as are wanted, out of those that HAProxy leaves.
#
# HAProxy is usually pinned to the first 80 % of the CPUs, so that no more than the last fifth (rounded up, hence at
# least one) is given away, even where more is wanted.
#
# @param count How many CPUs the machine has.
# @param wanted How many are wanted at most.
# @return Their numbers, in rising order.
function haproxystats::last_cpus(Integer[1] $count, Integer[1] $wanted) >> Array[Integer[0]] {
  $spare = $count - $count * 4 / 5
  Integer[$count - min($wanted, $spare), $count - 1].map |$cpu| { $cpu }
}
