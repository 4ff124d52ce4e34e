# @summary Zope instances: DEPLOYMENT/INSTANCE=ADDRESS, with commas between.
type Haproxystats::Instances = Pattern[/\A[\w.-]+\/[\w.-]+ *= *[^,[:cntrl:]]+(, *[\w.-]+\/[\w.-]+ *= *[^,[:cntrl:]]+)*\z/]
