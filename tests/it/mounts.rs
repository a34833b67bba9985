//! Where tasks see volumes, on every driver.

use ci::driver::{Driver, DriverError, Volume};
use ci::task::{TaskExit, TaskSpec};
use ci::volume::VolumeName;

use crate::driving::{edit, finish, mounted, sh, succeed, task, volume};

/// For drivers whose volumes are mounted, not linked.
pub async fn volumes_can_be_mounted_in_volumes(driver: &dyn Driver) {
    let (outer, inner) = (volume(driver, "outer").await, volume(driver, "inner").await);
    let mounts = [(&inner, "a/b/c"), (&outer, "a")];
    succeed(driver, &mounted(sh("echo o > a/file; echo i > a/b/c/file"), &mounts)).await;
    let look = "cat x/file y/file; ls x/b/c; test -d y -a ! -L y; cd y; basename $(pwd -P)";
    let text = succeed(driver, &mounted(sh(look), &[(&outer, "x"), (&inner, "y")])).await;
    assert_eq!(text, "o\ni\ny\n");
}

pub async fn mounts_that_make_no_sense_are_refused(driver: &dyn Driver) {
    let known = volume(driver, "known").await;
    let missing = Volume { name: VolumeName::new("missing").unwrap(), ..known.clone() };
    let table: [(&[(&Volume, &str)], &str); 4] = [
        (&[(&missing, "x")], "`missing`"),
        (&[(&known, "../x")], "`../x`"),
        (&[(&known, "x"), (&known, "./x")], "`x`"),
        (&[(&known, "."), (&known, "./.")], "`.`"),
    ];
    for (mounts, part) in table {
        let error = finish(driver, &mounted(sh("echo ran"), mounts)).await.unwrap_err();
        assert!(matches!(error, DriverError::Refused(_)), "{error:?}");
        assert!(error.to_string().contains(part), "{error}");
    }
}

/// Whatever directory the command starts in.
pub async fn paths_are_relative_to_the_directory_of_the_task(driver: &dyn Driver) {
    let source = volume(driver, "source").await;
    let in_source = |script: &str| {
        edit(mounted(sh(script), &[(&source, "src")]), |spec| {
            spec.exec.work_dir = Some("src".into());
        })
    };
    succeed(driver, &in_source("echo text > file; mkdir -p web")).await;
    assert_eq!(
        succeed(driver, &in_source("cat file; cat ../src/file; ls -A ..")).await,
        "text\ntext\nsrc\n"
    );
    let below = edit(in_source("cat ../file; test -z \"$(ls -A)\""), |spec| {
        spec.exec.work_dir = Some("./src/web".into());
    });
    assert_eq!(succeed(driver, &below).await, "text\n");
    // A directory that is missing is made, in the volume.
    let new = edit(in_source("cat ../../file"), |spec| {
        spec.exec.work_dir = Some("src/some/where".into());
    });
    assert_eq!(succeed(driver, &new).await, "text\n");
}

pub async fn a_volume_takes_the_place_of_the_directory(driver: &dyn Driver) {
    let source = volume(driver, "source").await;
    let here = |script: &str| mounted(sh(script), &[(&source, ".")]);
    succeed(driver, &here("test -z \"$(ls -A)\" && mkdir -p web && echo text > web/file")).await;
    assert_eq!(succeed(driver, &here("cat web/file")).await, "text\n");
    let below = edit(here("cat file"), |spec| spec.exec.work_dir = Some("web".into()));
    assert_eq!(succeed(driver, &below).await, "text\n");
    let elsewhere = mounted(task("read", "cat", &["v/web/file"]), &[(&source, "v")]);
    assert_eq!(succeed(driver, &elsewhere).await, "text\n");
}

/// As a project with its dependencies in a volume of their own.
pub async fn volumes_can_be_mounted_below_one_in_the_place_of_the_directory(driver: &dyn Driver) {
    let (source, modules) = (volume(driver, "source").await, volume(driver, "modules").await);
    let both = [(&modules, "node_modules"), (&source, ".")];
    succeed(driver, &mounted(sh("echo s > file; echo m > node_modules/file"), &both)).await;
    let apart = [(&source, "s"), (&modules, "m")];
    let look = "cat s/file m/file; ls -A s/node_modules";
    assert_eq!(succeed(driver, &mounted(sh(look), &apart)).await, "s\nm\n");
}

pub async fn a_read_only_volume_cannot_be_changed(driver: &dyn Driver) {
    let (source, modules) = (volume(driver, "source").await, volume(driver, "modules").await);
    succeed(driver, &mounted(sh("echo text > v/file; mkdir v/below"), &[(&source, "v")])).await;
    let read_only = |spec: TaskSpec, path: &str| {
        edit(mounted(spec, &[(&source, path)]), |spec| spec.container.mounts[0].read_only = true)
    };
    for path in ["v", "deep/er", "."] {
        let script = format!(
            "cat {path}/file; echo x > {path}/file; touch {path}/new; rm {path}/file; rmdir {path}/below"
        );
        let finished = finish(driver, &read_only(sh(&script), path)).await.unwrap();
        assert_eq!(finished.stdout, b"text\n", "{path}");
        assert_ne!(finished.exit, TaskExit::Code(0), "{path}");
        let look = mounted(sh("cat v/file; ls -A v"), &[(&source, "v")]);
        assert_eq!(succeed(driver, &look).await, "text\nbelow\nfile\n", "{path}");
    }
    // A volume below it, where a directory is, can be changed.
    let both = edit(
        mounted(sh("echo y > below/file; ! touch new"), &[(&source, "."), (&modules, "below")]),
        |spec| {
            spec.container.mounts[0].read_only = true;
        },
    );
    succeed(driver, &both).await;
    assert_eq!(succeed(driver, &mounted(sh("cat m/file"), &[(&modules, "m")])).await, "y\n");
    // The same volume, twice.
    let twice = edit(
        mounted(sh("! touch r/new; touch w/other; ls r"), &[(&source, "r"), (&source, "w")]),
        |spec| {
            spec.container.mounts[0].read_only = true;
        },
    );
    assert_eq!(succeed(driver, &twice).await, "below\nfile\nother\n");
}

pub async fn a_mount_below_a_read_only_volume_needs_its_directory(driver: &dyn Driver) {
    let (above, below) = (volume(driver, "above").await, volume(driver, "below").await);
    succeed(driver, &mounted(sh("mkdir v/there"), &[(&above, "v")])).await;
    let spec = |path: &str| {
        edit(mounted(sh("echo x > v/there/file"), &[(&above, "v"), (&below, path)]), |spec| {
            spec.container.mounts[0].read_only = true;
        })
    };
    let error = finish(driver, &spec("v/missing")).await.unwrap_err().to_string();
    assert!(error.contains("there is no such directory in the read-only volume"), "{error}");
    assert!(error.contains("missing`"), "{error}");
    succeed(driver, &spec("v/there")).await;
    let look = mounted(sh("ls v; ls -A v/there; cat w/file"), &[(&above, "v"), (&below, "w")]);
    assert_eq!(succeed(driver, &look).await, "there\nx\n");
}

/// Tools write absolute paths into what they make, such as virtual environments.
pub async fn tasks_with_volumes_see_their_directories_at_one_path(driver: &dyn Driver) {
    let tools = volume(driver, "tools").await;
    let make =
        "mkdir -p v/bin; echo 'echo made' > v/bin/tool; ln -s \"$PWD/v/bin/tool\" v/link; pwd";
    let first = TaskSpec { name: "one".into(), ..mounted(sh(make), &[(&tools, "v")]) };
    let use_it = "sh v/link >&2 && pwd";
    let second = TaskSpec { name: "another".into(), ..mounted(sh(use_it), &[(&tools, "v")]) };
    let directory = succeed(driver, &first).await;
    assert_eq!(succeed(driver, &second).await, directory);
    // At the same time, without meeting.
    let meet = "test -z \"$(ls -A | grep -v '^v$')\" && touch mine && sh v/link && ls -A";
    let tasks = ["one", "one", "two"].map(|name| {
        let spec = TaskSpec { name: name.into(), ..mounted(sh(meet), &[(&tools, "v")]) };
        async move { succeed(driver, &spec).await }
    });
    for text in futures_util::future::join_all(tasks).await {
        assert_eq!(text, "made\nmine\nv\n");
    }
}
