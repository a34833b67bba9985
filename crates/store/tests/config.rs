//! The cache's settings in a driver's DSN, from text to types.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::path::PathBuf;
use std::time::Duration;

use archive::{Compression, OutsideLinks};
use spec::{VolumeName, masked};
use store::{
    CacheConfig, CachePolicy, CacheWhen, S3Location, StaticCredentials, StoreLocation, is_cache_key,
};

/// As the driver's DSN is split: at `&`, and at the first `=`, and decoded nowhere.
fn parse(dsn: &str) -> Result<Option<CacheConfig>, String> {
    let (_, query) = dsn.split_once('?').unwrap();
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap());
    let pairs: Vec<(String, String)> =
        pairs.map(|(key, value)| (key.into(), value.into())).collect();
    CacheConfig::from_settings(&pairs).map_err(|error| error.to_string())
}

fn config(dsn: &str) -> CacheConfig {
    parse(dsn).unwrap_or_else(|error| panic!("{dsn}: {error}")).unwrap()
}

fn s3(store: &str) -> S3Location {
    match config(&format!("native://?cache={store}")).location {
        StoreLocation::S3(location) => location,
        StoreLocation::Directory(path) => panic!("{}", path.display()),
    }
}

#[test]
fn both_spellings_of_the_examples_are_the_same() {
    let plain = "native://?cache=s3://cache-bucket?endpoint=http://localhost:9000&region=us-east-1";
    let encoded = "native://?cache=s3%3A%2F%2Fcache-bucket%3Fendpoint%3Dhttp%3A%2F%2Flocalhost\
                   %3A9000%26region%3Dus-east-1";
    assert_eq!(config(plain), config(encoded));
    let expected = S3Location {
        bucket: "cache-bucket".into(),
        prefix: "".parse().unwrap(),
        region: Some("us-east-1".into()),
        endpoint: Some("http://localhost:9000".into()),
        credentials: None,
    };
    assert_eq!(config(plain).location, StoreLocation::S3(expected));

    let plain = "docker://?cache=s3://my-cache?region=us-west-2&cache_prefix=project-a\
                 &cache_compression=gzip";
    let encoded = "docker://?cache=s3%3A%2F%2Fmy-cache%3Fregion%3Dus-west-2\
                   &cache_prefix=project%2Da&cache_compression=gzip";
    let all_encoded = "docker://?cache=s3%3a%2f%2fmy-cache%3fregion%3dus-west-2%26cache_prefix\
                       %3dproject-a%26cache_compression%3dgzip";
    assert_eq!(config(plain), config(encoded));
    assert_eq!(config(plain), config(all_encoded));
    let config = config(plain);
    assert_eq!(config.compression, Compression::Gzip);
    assert_eq!(config.prefix.as_str(), "project-a");
    let StoreLocation::S3(location) = config.location else { panic!() };
    assert_eq!((location.region.as_deref(), location.endpoint), (Some("us-west-2"), None));
}

#[test]
fn defaults_and_every_key() {
    let default = config("native://?cache=s3://bucket");
    assert_eq!(default.ttl, None);
    assert_eq!(default.compression, Compression::Zstd);
    assert_eq!((default.policy, default.when), (CachePolicy::PullPush, CacheWhen::Success));
    assert_eq!((default.stall.as_secs(), default.budget.as_secs()), (30, 1800));
    assert_eq!((default.max_entries, default.max_size, default.max_ratio), (None, None, None));
    assert_eq!(default.outside_links, OutsideLinks::Refuse);

    let all = config(
        "native://?cache_policy=pull&cache_when=always&cache=s3://bucket/a/b/&ttl=7d\
         &cache_compression=none&cache_prefix=c/d&cache_fallback=main,release/1&cache_stall=5s\
         &cache_budget=10m&cache_max_entries=1000&cache_max_size=2GiB&cache_max_ratio=100\
         &cache_outside_links=keep",
    );
    let volume = VolumeName::new("vendor").unwrap();
    assert_eq!(all.key(&volume).unwrap().as_str(), "a/b/c/d/vendor.tar");
    let keys = |volume: &str| -> Vec<String> {
        let sources = all.sources(&VolumeName::new(volume).unwrap()).unwrap();
        sources.iter().map(|source| source.key.to_string()).collect()
    };
    assert_eq!(
        keys("vendor"),
        ["a/b/c/d/vendor.tar", "a/b/main/vendor.tar", "a/b/release/1/vendor.tar"]
    );
    // Names with a slash have had another key.
    assert_eq!(
        keys("x/y")[..4],
        ["a/b/c/d/x%2Fy.tar", "a/b/c/d/x/y.tar", "a/b/main/x%2Fy.tar", "a/b/main/x/y.tar"]
    );
    assert_eq!(all.key_prefix().unwrap().as_str(), "a/b/c/d");
    assert_eq!((all.policy, all.when), (CachePolicy::Pull, CacheWhen::Always));
    assert_eq!((all.stall.as_secs(), all.budget.as_secs()), (5, 600));
    assert_eq!(
        (all.max_entries, all.max_size, all.max_ratio),
        (Some(1000), Some(2 << 30), Some(100))
    );
    assert_eq!(all.outside_links, OutsideLinks::Keep);

    for (ttl, hours) in [("24h", 24.0), ("7d", 168.0), ("168h", 168.0), ("90m", 1.5)] {
        let config = config(&format!("native://?cache=s3://bucket?ttl={ttl}"));
        assert_eq!(config.ttl, Some(Duration::from_secs_f64(hours * 3600.0)), "{ttl}");
    }
    assert_eq!(
        parse("native://?x=1").unwrap_err().split(',').next(),
        Some("unknown key `x` for the cache")
    );
    assert_eq!(CacheConfig::from_settings(&[]), Ok(None));
}

#[test]
fn a_directory() {
    let config = config("native://?cache=file:///var/a%20cache?ttl=7d");
    assert_eq!(config.location, StoreLocation::Directory(PathBuf::from("/var/a cache")));
    assert!(config.ttl.is_some());
    let encoded = self::config("native://?cache=file%3A%2F%2F%2Fvar%2Fa%2520cache&ttl=7d");
    assert_eq!(encoded, config);
}

#[test]
fn hosts_and_buckets_are_told_apart() {
    let table = [
        ("s3://bucket", "bucket", "", None),
        ("s3://my.bucket/a/b", "my.bucket", "a/b", None),
        ("s3://bucket/pre@fix", "bucket", "pre@fix", None),
        ("s3://http://host/bucket", "bucket", "", Some("http://host")),
        ("s3://https://host:1/bucket/a/b", "bucket", "a/b", Some("https://host:1")),
        ("s3://minio:9000/bucket/a", "bucket", "a", Some("https://minio:9000")),
        ("s3://localhost:9000/bucket", "bucket", "", Some("http://localhost:9000")),
        ("s3://127.0.0.1:9000/bucket", "bucket", "", Some("http://127.0.0.1:9000")),
        ("s3://[::1]:9000/bucket", "bucket", "", Some("http://[::1]:9000")),
        ("s3://K:S@s3.example.com/bucket", "bucket", "", Some("https://s3.example.com")),
        ("s3://http://K:S@h:9/bucket/a", "bucket", "a", Some("http://h:9")),
    ];
    for (url, bucket, prefix, endpoint) in table {
        let location = s3(url);
        assert_eq!(
            (location.bucket.as_str(), location.prefix.as_str(), location.endpoint.as_deref()),
            (bucket, prefix, endpoint),
            "{url}"
        );
    }
}

#[test]
fn secrets_with_any_character() {
    let expected = Some(StaticCredentials { key: "KEY".into(), secret: "a/b+c%2F=".into() });
    let plain = "s3://http://KEY:a%2Fb+c%252F=@host/bucket";
    let encoded = "s3%3A%2F%2Fhttp%3A%2F%2FKEY%3Aa%252Fb%2Bc%25252F%3D%40host%2Fbucket";
    assert_eq!(s3(plain).credentials, expected);
    assert_eq!(s3(encoded).credentials, expected);
}

#[test]
fn mistakes_say_what_is_valid() {
    let table = [
        (
            "cache=s3://bucket&cache_compresion=gzip",
            "unknown key `cache_compresion` for the cache, did you mean `cache_compression`?, \
             expected `cache`, `region`, `endpoint`, `ttl`, `cache_compression`, `cache_prefix`, \
             `cache_fallback`, `cache_policy`, `cache_when`, `cache_stall`, `cache_budget`, \
             `cache_max_entries`, `cache_max_size`, `cache_max_ratio`, `cache_outside_links` or \
             `cache_setuid`",
        ),
        (
            "cache=s3://bucket&cache_compression=xz",
            "invalid value `xz` for key `cache_compression`, expected `zstd`, `gzip` or `none`",
        ),
        (
            "cache=s3://bucket?ttl=soon",
            "invalid value `soon` for key `ttl`, \
             expected a duration above 0 such as `24h`, `7d`, `168h` or `90m`",
        ),
        (
            "cache=s3://bucket&ttl=0s",
            "invalid value `0s` for key `ttl`, \
             expected a duration above 0 such as `24h`, `7d`, `168h` or `90m`",
        ),
        (
            "cache=s3://bucket&cache_stall=2d",
            "invalid value `2d` for key `cache_stall`, \
             expected a duration above 0 of at most a day such as `30s` or `10m`",
        ),
        (
            "cache=s3://bucket&cache_policy=read",
            "invalid value `read` for key `cache_policy`, \
             expected `pull-push`, `pull`, `push` or `none`",
        ),
        (
            "cache=s3://bucket&cache_when=never",
            "invalid value `never` for key `cache_when`, expected `success`, `always` or `failure`",
        ),
        (
            "cache=s3://bucket&cache_max_entries=0",
            "invalid value `0` for key `cache_max_entries`, expected a whole number above 0",
        ),
        (
            "cache=s3://bucket&cache_fallback=a,b,c,d,e,f",
            "invalid value `a,b,c,d,e,f` for key `cache_fallback`, \
             expected at most five prefixes, separated by commas",
        ),
        (
            "cache=s3://bucket&cache_prefix=a/../b",
            "invalid prefix for key `cache_prefix`: \
             expected parts between slashes that are not empty, `.` or `..`, got `a/../b`",
        ),
        (
            "cache=s3://bucket/a/./b",
            "invalid prefix for key `cache`: \
             expected parts between slashes that are not empty, `.` or `..`, got `a/./b`",
        ),
        (
            "region=eu-west-1&cache=s3://bucket",
            "key `region` belongs to the cache, move it after `cache=`",
        ),
        ("cache=s3://bucket?region=a&region=b", "key `region` is given twice, keep one"),
        ("cache=s3://bucket&cache=s3://bucket", "key `cache` is given twice, keep one"),
        (
            "cache=s3://http://host/bucket?endpoint=http://other",
            "key `endpoint` is given twice, keep one",
        ),
        (
            "cache=file:///x&region=a",
            "key `region` is only for stores of the form `s3://`, remove it",
        ),
        ("cache_prefix=a", "keys of the cache are given without a store, add `cache=s3://bucket`"),
        (
            "cache=s3://bucket?endpoint=localhost:9000",
            "invalid value `localhost:9000` for key `endpoint`, \
             expected `http://host:port` or `https://host`, without credentials",
        ),
        (
            "cache=s3://bucket&cache_prefix=100%",
            "`100%` is not valid percent-encoding, write a literal `%` as `%25`",
        ),
        (
            "cache=s3://x",
            "invalid value `s3://x` for key `cache`, expected a bucket of 3 to 63 letters, digits, \
             `.`, `-` or `_`, as in `s3://bucket/prefix` or \
             `s3://[http://|https://][KEY:SECRET@]host[:port]/bucket/prefix`",
        ),
        (
            "cache=/var/cache",
            "invalid value `/var/cache` for key `cache`, expected `s3://bucket/prefix` or \
             `s3://[http://|https://][KEY:SECRET@]host[:port]/bucket/prefix` or `file:///path`",
        ),
        (
            "cache=file://relative",
            "invalid value `file://relative` for key `cache`, expected `file:///absolute/path`",
        ),
    ];
    for (settings, expected) in table {
        assert_eq!(parse(&format!("native://?{settings}")), Err(expected.into()), "{settings}");
    }
}

#[test]
fn one_slash_at_the_end_of_a_prefix_changes_nothing() {
    for (settings, expected) in [
        ("cache_prefix=q/", "q"),
        ("cache_prefix=q", "q"),
        ("cache_prefix=a/b/", "a/b"),
        ("cache_prefix=", ""),
    ] {
        let config = config(&format!("native://?cache=s3://bucket&{settings}"));
        assert_eq!(config.prefix.as_str(), expected, "{settings}");
    }
    let config = config("native://?cache=s3://bucket/p/&cache_fallback=main/,release/1/");
    assert_eq!(config.key_prefix().unwrap().as_str(), "p");
    let fallback: Vec<&str> = config.fallback.iter().map(|prefix| prefix.as_str()).collect();
    assert_eq!(fallback, ["main", "release/1"]);
    for wrong in ["q//", "/", "/q", "//"] {
        parse(&format!("native://?cache=s3://bucket&cache_prefix={wrong}")).unwrap_err();
    }
}

#[test]
fn a_capital_m_is_no_unit() {
    for key in ["ttl", "cache_stall", "cache_budget"] {
        for value in ["10M", "1h10M", "1M"] {
            let error = parse(&format!("native://?cache=s3://bucket&{key}={value}")).unwrap_err();
            assert!(error.contains("`M` is not a unit: write `m` for minutes"), "{error}");
        }
    }
}

#[test]
fn no_output_has_a_secret() {
    let valid = "native://?cache=s3://https://AKID:hunter2@host/bucket?region=x";
    assert!(!format!("{:?}", config(valid)).contains("hunter2"));
    for store in [
        "s3://AKID:hunter2@host:port/bucket",
        "s3://AKID:hunter2@host",
        "s3://AKID:hunter2@host/x",
        "s3://AKID:hunter2",
        "s3://AKID:hunter2/bucket",
        "s3://AKID:a/hunter2@host/bucket",
        "s3://ftp://AKID:hunter2@host/bucket",
        "S3://AKID:hunter2@host/bucket",
        "AKID:hunter2@host/bucket",
        "s3://AKID:hunter2%@host/bucket",
        "s3://AKID:hunter2@host/bucket/../x",
        "s3://AKID:hunter2@host/bucket?region=a b",
        "s3%3A%2F%2FAKID%3Ahunter2%40host",
        "s3://bucket?endpoint=http://AKID:hunter2@host",
        "s3://AKID:a?hunter2@host/bucket",
    ] {
        let settings = [("cache".to_owned(), store.to_owned())];
        let error = CacheConfig::from_settings(&settings).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{store}: {error}");
        assert!(!masked(store).contains("hunter2"), "{store}: {}", masked(store));
    }
}

#[test]
fn keys_of_the_cache_are_known_by_their_name() {
    for key in ["cache", "cache_prefix", "cache_prefx", "region", "endpoint", "ttl"] {
        assert!(is_cache_key(key), "{key}");
    }
    for key in ["namespace", "env", "dir", "Cache"] {
        assert!(!is_cache_key(key), "{key}");
    }
}
