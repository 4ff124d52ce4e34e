# @summary Hosts of Kafka with their ports, and commas between.
type Haproxystats::Brokers = Pattern[/\A[^\s,[:cntrl:]]+(, *[^\s,[:cntrl:]]+)*\z/]
