//! Kafka, fetched by Maven: a script in the folder of the tools runs its classes.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::run;
use crate::find_program;

/// The script that runs a class of Kafka's, and Kafka's version.
pub(super) const KAFKA: (&str, &str) = ("kafka-broker", "4.4.0");

/// What Maven fetches: Kafka's broker, and the library by which it logs.
const KAFKA_PARTS: [(&str, &str, &str); 2] = [
    ("org.apache.kafka", "kafka_2.13", KAFKA.1),
    ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.24.3"),
];

/// Fetches Kafka, if Java and Maven are there.
pub(super) fn install(tools: &Path) {
    if find_program("java").is_none() || find_program("mvn").is_none() {
        return println!("xtask: Kafka needs java and mvn (default-jre-headless, maven)");
    }
    let folder = tools.join(format!("kafka-{}", KAFKA.1));
    println!("xtask: installing Kafka into {}", folder.display());
    let libraries = folder.join("libs");
    let parts = KAFKA_PARTS.map(|(group, artifact, version)| {
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
             <version>{version}</version></dependency>"
        )
    });
    let pom = format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
         <groupId>haproxystats</groupId><artifactId>kafka-broker</artifactId><version>1</version>\
         <packaging>pom</packaging><dependencies>{}</dependencies></project>\n",
        parts.concat()
    );
    let script = format!(
        "#!/bin/sh\n# Runs a class of Kafka's with its arguments.\n\
         exec java -cp '{}/*' \"$@\"\n",
        libraries.display()
    );
    let prepared =
        fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join("pom.xml"), pom));
    if let Err(error) = prepared {
        return eprintln!("xtask: {}: {error}", folder.display());
    }
    let mut command = Command::new("mvn");
    command.args(["-q", "-B", "-f"]).arg(folder.join("pom.xml"));
    command.args(["dependency:copy-dependencies", "-DincludeScope=runtime"]);
    command.arg(format!("-DoutputDirectory={}", libraries.display()));
    // The script comes last: with it the tool counts as installed.
    if run(command)
        && let Err(error) = write_script(&tools.join("bin"), &script)
    {
        eprintln!("xtask: {}: {error}", KAFKA.0);
    }
}

fn write_script(folder: &Path, text: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let path = folder.join(KAFKA.0);
    fs::write(&path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}
