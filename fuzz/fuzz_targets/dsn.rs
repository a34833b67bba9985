//! Whatever a DSN says, it is parsed or told what is wrong, and a secret in it is never told.

#![no_main]
#![allow(dead_code, reason = "only parsing is under test")]

#[path = "../../src/dsn.rs"]
mod dsn;

use spec::{duration, suggest};

#[path = "."]
mod cache {
    #[path = "../../src/cache/config.rs"]
    mod config;
    #[path = "../../src/cache/key.rs"]
    mod key;
    #[path = "../../src/cache/location.rs"]
    mod location;
    #[path = "../../src/cache/mask.rs"]
    mod mask;
    #[path = "../../src/cache/settings.rs"]
    mod settings;

    pub use config::{CacheConfig, CachePolicy, CacheWhen, is_cache_key};
    pub use key::{CacheKey, CacheKeyError, KeyPrefix};
    pub use location::StoreLocation;
    pub use mask::masked;
    pub use settings::CacheConfigError;
}

#[path = "."]
mod driver {
    #[path = "../../src/driver/config.rs"]
    mod config;

    pub use config::{DriverConfig, DriverConfigError};

    #[path = "."]
    pub mod docker {
        #[path = "../../src/driver/docker/config.rs"]
        mod config;
        #[path = "../../src/driver/docker/destination.rs"]
        mod destination;

        pub use config::{DockerConfig, HOST, Pull};
    }

    #[path = "."]
    pub mod native {
        #[path = "../../src/driver/native/config.rs"]
        mod config;

        pub use config::{MountMode, NativeConfig};
    }
}

#[path = "."]
mod volume {
    pub use spec::VolumeName;
}

use libfuzzer_sys::fuzz_target;

/// Long enough that no message has it by chance.
const SECRET: &str = "wJalrXUtnFEMIK7MDENG";

fuzz_target!(|text: &str| {
    let parsed = text.parse::<dsn::Dsn>();
    if let Ok(dsn) = &parsed {
        // What was accepted is the same when it is read again.
        assert_eq!(text.parse::<dsn::Dsn>().as_ref(), Ok(dsn));
    }
    // Fuzzers learn what they are compared with.
    if text.contains(SECRET) {
        return;
    }
    // A secret where one belongs, in whatever surroundings.
    let (before, after) = text.split_at(text.ceil_char_boundary(text.len() / 2));
    for credentials in [format!("AKIA:{SECRET}@"), format!("{SECRET}:x@")] {
        let text = format!("{before}s3://{credentials}{after}");
        assert!(!cache::masked(&text).contains(SECRET), "{text}");
        if let Err(error) = text.parse::<dsn::Dsn>() {
            let told = error.to_string();
            assert!(!told.contains(SECRET), "{text}: {told}");
        }
    }
});
