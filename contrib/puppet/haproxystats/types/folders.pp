# @summary Folders and patterns of folders, with commas between.
type Haproxystats::Folders = Pattern[/\A\/[^,[:cntrl:]]+(, *\/[^,[:cntrl:]]+)*\z/]
