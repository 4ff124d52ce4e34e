# @summary The name of a Kafka topic.
type Haproxystats::Topic = Pattern[/\A[A-Za-z0-9._-]{1,249}\z/]
