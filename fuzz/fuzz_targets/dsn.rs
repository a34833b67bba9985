//! Whatever a DSN says, it is parsed or told what is wrong, and a secret in it is never told.

#![no_main]
#![allow(dead_code, reason = "only parsing is under test")]

#[path = "../../src/driver/dsn.rs"]
mod dsn;

use spec::{duration, suggest};

#[path = "."]
mod driver {
    #[path = "../../src/driver/settings.rs"]
    pub mod settings;

    pub use settings::DriverConfigError;

    /// What a DSN may begin with.
    pub struct Named {
        pub name: &'static str,
    }

    pub const DRIVERS: &[Named] = &[Named { name: "native" }, Named { name: "docker" }];

    /// Stands in for the registry of drivers, which knows how to run tasks as well.
    #[derive(Clone, Debug)]
    pub enum DriverConfig {
        Native(native::NativeConfig),
        Docker(docker::DockerConfig),
    }

    impl DriverConfig {
        pub fn new(name: &str, pairs: Vec<(String, String)>) -> Result<Self, DriverConfigError> {
            let known = |name, keys, lists| settings::known(name, keys, lists, pairs.clone());
            match name {
                "native" => {
                    let keys = &["namespace", "env", "dir", "grace", "mounts"];
                    let settings = known("native", keys, &["env"])?;
                    Ok(Self::Native(native::parse(settings)?))
                }
                "docker" => {
                    let keys = &["namespace", "host", "pull", "grace", "network"];
                    Ok(Self::Docker(docker::parse(known("docker", keys, &[])?)?))
                }
                name => Err(DriverConfigError::UnknownDriver {
                    name: name.to_owned(),
                    known: vec!["native", "docker"],
                }),
            }
        }
    }

    #[path = "."]
    pub mod docker {
        #[path = "../../src/driver/docker/config.rs"]
        mod config;
        #[path = "../../src/driver/docker/destination.rs"]
        mod destination;

        pub use config::{DockerConfig, parse};
    }

    #[path = "."]
    pub mod native {
        #[path = "../../src/driver/native/config.rs"]
        mod config;

        pub use config::{NativeConfig, parse};
    }
}

use libfuzzer_sys::fuzz_target;

/// Long enough that no message has it by chance.
const SECRET: &str = "wJalrXUtnFEMIK7MDENG";

fuzz_target!(|text: &str| {
    let parsed = text.parse::<dsn::Dsn>();
    if let Ok(dsn) = &parsed {
        // What was accepted is the same when it is read again.
        let again = text.parse::<dsn::Dsn>();
        assert_eq!(format!("{:?}", again.as_ref().ok()), format!("{:?}", Some(dsn)));
    }
    // Fuzzers learn what they are compared with.
    if text.contains(SECRET) {
        return;
    }
    // A secret where one belongs, in whatever surroundings.
    let (before, after) = text.split_at(text.ceil_char_boundary(text.len() / 2));
    for credentials in [format!("AKIA:{SECRET}@"), format!("{SECRET}:x@")] {
        let text = format!("{before}s3://{credentials}{after}");
        assert!(!spec::masked(&text).contains(SECRET), "{text}");
        if let Err(error) = text.parse::<dsn::Dsn>() {
            let told = error.to_string();
            assert!(!told.contains(SECRET), "{text}: {told}");
        }
    }
});
