//! How large the cache in the user's cache directory may be: what goes first, and what stays.

use std::fs;
use std::process::Stdio;

use crate::local_cache::{Home, files, has, lacks, run};
use crate::support::Ci;

/// `-- NAME SIZE` makes the volume NAME of so much that does not compress, if the cache does not have it.
const FILL: &str = r#"
    const [name, size] = pipelineContext.args;
    const v = await runtime.createVolume({ name });
    const script = `[ -e v/file ] && echo warm || { echo cold; head -c ${size} /dev/urandom > v/file; }`;
    const { ok } = await runtime.run({
        name: "fill", image: "busybox", command: { path: "sh", args: ["-c", script] }, mounts: { v },
    });
    assert.truthy(ok);
"#;

#[test]
fn what_nobody_has_used_for_longest_goes_first_whichever_project_it_is_of() {
    let home = Home::new();
    let (one, two) = (home.project(FILL), home.project(FILL));
    let fill = |project: &Ci, size: &str, name: &str| {
        run(project, &["--cache", "--cache-size", size, "--", name, "1048576"], 0)
    };
    for (project, name) in [(&one, "restored"), (&one, "oldest"), (&two, "newer")] {
        has(&fill(project, "20GiB", name), "cold");
    }
    has(&fill(&one, "20GiB", "restored"), "warm");
    let text = fill(&two, "3500KiB", "new");
    has(&text, "notice: removed 1 archive (1.0 MiB) from the cache, the least recently used first");
    assert_eq!(home.archives(), ["new.tar.zst", "newer.tar.zst", "restored.tar.zst"]);
    // What says about an archive that it is ours has gone with it.
    let beside = files(&home.store()).len() - home.archives().len();
    assert_eq!(beside, 3);
    let text = fill(&one, "2500KiB", "restored");
    has(&text, "warm");
    has(&text, "removed 1 archive ");
    assert_eq!(home.archives(), ["new.tar.zst", "restored.tar.zst"]);

    let mistake = Ci::new().args(["cache", "prune"]);
    has(&run(&mistake, &[], 2), "<--older-than <DURATION>|--max-size <SIZE>>");
    has(&home.cache(&["prune", "--max-size", "4MiB"]), "nothing is above 4.0 MiB");
    has(&home.cache(&["prune", "--max-size", "1500KiB", "--yes"]), "new.tar.zst");
    assert_eq!(home.archives(), ["restored.tar.zst"]);
}

#[test]
fn an_archive_that_is_larger_than_the_cache_may_be_is_told_and_takes_no_other_with_it() {
    let home = Home::new();
    run(&home.project(FILL), &["--cache", "--", "small", "500000"], 0);
    let project = home.project(FILL);
    let strict = ["--cache", "--cache-strict", "--cache-size", "1MiB"];
    let text = run(&project, &[&strict[..], &["--", "large", "3145728"]].concat(), 0);
    has(&text, "warning: `large.tar.zst` was removed from the cache: it has 3.0 MiB");
    has(&text, "allow more with `--cache-size`");
    lacks(&text, "notice: removed");
    assert_eq!(home.archives(), ["small.tar.zst"]);
}

#[test]
fn what_a_run_has_just_kept_stays_even_if_there_is_no_room() {
    let home = Home::new();
    let body = r#"
        const volumes = await Promise.all(["a", "b"].map((name) => runtime.createVolume({ name })));
        const mounts = { a: volumes[0], b: volumes[1] };
        const script = "for v in a b; do head -c 1048576 /dev/urandom > $v/file; done";
        await runtime.run({ name: "fill", image: "busybox", command: { path: "sh", args: ["-c", script] }, mounts });
    "#;
    run(&home.project(FILL), &["--cache", "--", "old", "500000"], 0);
    let text = run(&home.project(body), &["--cache", "--cache-size", "1500KiB"], 0);
    assert_eq!(home.archives(), ["a.tar.zst", "b.tar.zst"]);
    has(&text, "removed 1 archive ");
    has(&text, "warning: the archives of this run have 2.0 MiB, and the cache may have 1.5 MiB");
}

#[test]
fn files_of_others_in_the_cache_directory_stay() {
    let home = Home::new();
    let others = ["notes.txt", "photos.tar.zst", "other/photos.tar", "other/.ci-temp-notes"];
    for name in others {
        let path = home.store().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, vec![0; 5000]).unwrap();
    }
    let project = home.project(FILL);
    run(&project, &["--cache", "--", "v", "1000"], 0);
    // A copy is not what the file beside it says.
    let archive = files(&home.store()).into_iter().find(|path| path.ends_with("v.tar.zst"));
    let archive = archive.unwrap();
    fs::copy(&archive, archive.with_file_name("copy.tar.zst")).unwrap();
    let text = run(&project, &["--cache", "--cache-size", "10B", "--", "w", "1000"], 0);
    has(&text, "warning: `w.tar.zst` was removed from the cache");
    has(&text, "notice: removed 1 archive ");
    for name in others {
        assert!(home.store().join(name).exists(), "{name}");
    }
    let others = [".ci-temp-notes", "copy.tar.zst", "notes.txt", "photos.tar", "photos.tar.zst"];
    let left: Vec<String> = files(&home.store())
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    let mut left: Vec<&str> =
        left.iter().map(String::as_str).filter(|name| !name.starts_with(".ci-meta-")).collect();
    left.sort_unstable();
    assert_eq!(left, others);
}

#[test]
fn runs_at_the_same_time_share_the_room() {
    let home = Home::new();
    let projects: Vec<Ci> = (0..4).map(|_| home.project(FILL)).collect();
    for round in 0..3 {
        let name = format!("v{round}");
        let runs: Vec<_> = projects
            .iter()
            .map(|project| {
                let mut command = project.command();
                command.args(["--cache", "--cache-strict", "--cache-size", "2500KiB"]);
                command.args(["--", &name, "1048576"]);
                command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        for run in runs {
            let output = run.wait_with_output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{text}");
            lacks(&text, "warning:");
        }
        assert_eq!(home.archives().len(), 2);
    }
}
