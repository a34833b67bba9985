//! `ci cache`: what a store holds, told, verified and removed.

use serde_json::Value;
use testkit::S3;

use crate::cache::{BUILD, driver, file_cache, run};
use crate::support::Ci;

#[test]
fn the_cache_can_be_listed_verified_and_cleared_on_s3() {
    let s3 = S3::from_environment();
    let url = s3.url("commands");
    run(BUILD, &format!("{url}&cache_prefix=app"), &[]).exits(0);
    let cache = |args: &[&str]| {
        Ci::new()
            .args(["cache"])
            .args(args)
            .env("CI_DRIVER", format!("{}cache={url}", driver()))
            .run()
    };
    cache(&["ls"]).exits(0).stdout_has("app/modules.tar.zst").stdout_has("of pipeline-");
    let listed = cache(&["ls", "--json"]).exits(0);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(listed[0]["name"], "app/modules");
    assert_eq!(listed[0]["entries"], 5);
    cache(&["stat", "app/modules"]).exits(0).stdout_has("in 5 entries");
    cache(&["verify"]).exits(0).stdout_has("ok");
    cache(&["rm", "nothing"]).exits(1).stderr_has("`ci cache ls`");
    cache(&["rm", "app/modules"]).exits(2).stderr_has("`--yes`");
    cache(&["prune", "--older-than", "30d"]).exits(0).stdout_has("nothing is older than 30days");
    cache(&["prune", "--older-than", "0s", "--yes"]).exits(0).stdout_has("removed `");
    cache(&["ls", "--json"]).exits(0).stdout_has("[]");

    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("bad.tar.zst"), "rubbish").unwrap();
    let url = file_cache(dir.path());
    let cache = |args: &[&str]| Ci::new().args(["cache"]).args(args).args(["--store", &url]).run();
    cache(&["verify"]).exits(1).stdout_has("not compressed with zstd").stderr_has("`ci cache rm`");
    cache(&["rm", "bad", "--yes"]).exits(2).stderr_has("`--include-foreign`");
    cache(&["rm", "bad", "--yes", "--include-foreign"]).exits(0);
    assert!(!dir.path().join("bad.tar.zst").exists());
    let typo = Ci::new().args(["cache", "ls", "--store", "cache-dir"]).run().exits(2);
    typo.stderr_has("expected `s3://bucket/prefix`, `file:///path` or a DSN, got `cache-dir`");
}

#[test]
fn a_directory_that_is_not_there_is_no_empty_cache() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    for (name, why) in [("typo", "there is no directory"), ("file", "is no directory")] {
        let url = file_cache(&dir.path().join(name));
        for args in [
            &["ls"][..],
            &["verify"],
            &["stat", "npm"],
            &["prune", "--older-than", "1d", "--yes"],
            &["uploads"],
        ] {
            let ran = Ci::new().args(["cache"]).args(args).args(["--store", &url]).run();
            assert!(matches!(ran.code, 2 | 3), "{args:?}: {}", ran.code);
            ran.stderr_has(why);
        }
        assert!(!dir.path().join("typo").exists());
    }
}
