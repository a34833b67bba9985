//! What every driver keeps its word about, as functions over `&dyn Driver`.
//!
//! Each driver's file runs all of them. They need a POSIX shell and `flock` where tasks run, and
//! use nothing but the contract: whether a process still runs shows in a lock that it holds on a
//! file in a volume.

use ci::driver::{Driver, DriverError};
use ci::task::{Stream, TaskExit, TaskSpec};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::driving::{
    PATIENCE, TAKE_LOCK, cancel_when_ready, edit, exit, finish, lock_is_free, mounted, sh, succeed,
    task, updates, volume,
};

pub async fn exit_codes_are_reported(driver: &dyn Driver) {
    for code in [0, 1, 42, 127, 255] {
        let finished = finish(driver, &sh(&format!("exit {code}"))).await.unwrap();
        assert_eq!(finished.exit, TaskExit::Code(code));
    }
}

pub async fn signals_are_reported(driver: &dyn Driver) {
    for (name, number) in [("TERM", 15), ("KILL", 9), ("SEGV", 11), ("PIPE", 13), ("INT", 2)] {
        let finished = finish(driver, &sh(&format!("kill -{name} $$"))).await.unwrap();
        assert_eq!(finished.exit, TaskExit::Signal(number), "{name}");
    }
}

pub async fn output_is_bytes_as_written(driver: &dyn Driver) {
    let script = r"printf 'a\377\000\303'; printf '\000\n\n' >&2; printf '\244b'";
    let finished = finish(driver, &sh(script)).await.unwrap();
    assert_eq!(finished.stdout, b"a\xff\0\xc3\xa4b");
    assert_eq!(finished.stderr, b"\0\n\n");
}

pub async fn output_is_whole_and_in_order(driver: &dyn Driver) {
    let script = "i=0; while [ $i -lt 20000 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done";
    let finished = finish(driver, &sh(script)).await.unwrap();
    let expected = |word: &str| -> String { (0..20000).map(|i| format!("{word} {i}\n")).collect() };
    assert_eq!(finished.exit, TaskExit::Code(0));
    assert!(finished.stdout == expected("out").as_bytes());
    assert!(finished.stderr == expected("err").as_bytes());
}

pub async fn much_output_at_once_is_whole(driver: &dyn Driver) {
    let spec = sh("head -c 50000000 /dev/zero; printf end");
    let finished = finish(driver, &spec).await.unwrap();
    assert_eq!(finished.stdout.len(), 50_000_003);
    assert!(finished.stdout.ends_with(b"\0end"));
}

pub async fn a_slow_listener_makes_the_task_wait(driver: &dyn Driver) {
    let (sink, mut chunks) = updates(1);
    let cancel = CancellationToken::new();
    let shared = volume(driver, "progress").await;
    let script = "echo ready; while :; do head -c 65536 /dev/zero; printf x >> v/progress; done";
    let spec = mounted(sh(script), &[(&shared, "v")]);
    let listen = async {
        chunks.recv().await.unwrap();
        // Meanwhile a driver without back-pressure would read on and on.
        for _ in 0..20 {
            succeed(driver, &sh("head -c 1000000 /dev/zero | cksum")).await;
        }
        let progress = mounted(sh("cat v/progress 2>/dev/null | wc -c"), &[(&shared, "v")]);
        let blocks: usize = succeed(driver, &progress).await.trim().parse().unwrap();
        cancel.cancel();
        while chunks.recv().await.is_some() {}
        blocks
    };
    let both = async { tokio::join!(exit(driver.run(&spec, sink, cancel.clone())), listen) };
    let (exit, blocks) = timeout(PATIENCE, both).await.unwrap();
    assert_eq!(exit.unwrap(), TaskExit::Cancelled);
    assert!(blocks < 128, "{blocks} blocks of 64 KiB were buffered");
}

pub async fn nobody_has_to_listen(driver: &dyn Driver) {
    let (sink, chunks) = updates(1);
    drop(chunks);
    let spec = sh("head -c 10000000 /dev/zero && echo done >&2");
    let exit =
        timeout(PATIENCE, exit(driver.run(&spec, sink, CancellationToken::new()))).await.unwrap();
    assert_eq!(exit.unwrap(), TaskExit::Code(0));
}

pub async fn stdin_is_passed_on(driver: &dyn Driver) {
    let bytes: Vec<u8> = (0..8_000_000_u32).map(|i| (i % 251) as u8).collect();
    let echo = edit(task("echo", "cat", &[]), |spec| spec.exec.stdin = Some(bytes.clone()));
    let finished = timeout(PATIENCE, finish(driver, &echo)).await.unwrap().unwrap();
    assert_eq!(finished.exit, TaskExit::Code(0));
    assert!(finished.stdout == bytes);

    let deaf = edit(task("deaf", "true", &[]), |spec| spec.exec.stdin = Some(bytes));
    succeed(driver, &deaf).await;
    assert_eq!(succeed(driver, &task("nothing", "cat", &[])).await, "");
    let empty = edit(task("empty", "cat", &[]), |spec| spec.exec.stdin = Some(Vec::new()));
    assert_eq!(succeed(driver, &empty).await, "");
}

pub async fn the_environment_is_clean(driver: &dyn Driver) {
    let mut spec = task("env", "env", &[]);
    spec.exec.env =
        vec![("GREETING".into(), "hello\nworld".into()), ("EMPTY".into(), String::new())];
    let text = succeed(driver, &spec).await;
    assert!(text.contains("GREETING=hello\nworld\n") && text.contains("EMPTY=\n"), "{text}");
    assert!(text.contains("PATH=/"), "{text}");
    for variable in unexpected_variables() {
        assert!(!text.lines().any(|line| line.starts_with(&format!("{variable}="))), "{text}");
    }
}

/// Variables of this process that no task should see.
pub fn unexpected_variables() -> Vec<String> {
    let expected =
        ["PATH", "HOME", "HOSTNAME", "USER", "LANG", "TMPDIR", "PWD", "OLDPWD", "SHLVL", "_"];
    let names = std::env::vars().map(|(name, _)| name);
    let names: Vec<String> = names.filter(|name| !expected.contains(&name.as_str())).collect();
    assert!(!names.is_empty(), "set any variable to run these tests");
    names
}

pub async fn the_pipeline_overrides_variables(driver: &dyn Driver) {
    let mut spec = task("env", "/usr/bin/env", &[]);
    spec.exec.env = vec![
        ("PATH".into(), "/nowhere".into()),
        ("A".into(), "1".into()),
        ("A".into(), "2".into()),
    ];
    let text = succeed(driver, &spec).await;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.contains(&"PATH=/nowhere") && lines.contains(&"A=2"), "{text}");
    assert!(!lines.contains(&"A=1"), "{text}");
}

pub async fn temporary_files_have_a_place(driver: &dyn Driver) {
    let spec = sh("test -z \"$(ls -A \"${TMPDIR:-/tmp}\" 2>&1)\"; f=$(mktemp) && echo x > $f");
    succeed(driver, &spec).await;
    succeed(driver, &spec).await;
}

pub async fn the_working_directory_is_stable_and_empty_at_the_start(driver: &dyn Driver) {
    let fill = "pwd; test -z \"$(ls -A)\" && mkdir -p a/b && echo x > a/b/c && touch .hidden";
    let first = succeed(driver, &sh(fill)).await;
    assert!(first.starts_with('/'), "{first}");
    assert_eq!(succeed(driver, &sh(fill)).await, first);

    let mut below = sh("pwd; test -z \"$(ls -A)\"");
    below.exec.work_dir = Some("some/where".into());
    assert_eq!(succeed(driver, &below).await, format!("{}/some/where\n", first.trim_end()));

    let mut outside = sh("pwd");
    outside.exec.work_dir = Some("a/../..".into());
    let refused = finish(driver, &outside).await.unwrap_err().to_string();
    assert!(refused.contains("a/../.."), "{refused}");

    let mut absolute = sh("pwd");
    absolute.exec.work_dir = Some("/usr".into());
    assert_eq!(succeed(driver, &absolute).await, "/usr\n");
}

pub async fn tasks_see_each_others_files_in_volumes(driver: &dyn Driver) {
    let cache = volume(driver, "cache").await;
    let write = mounted(sh("echo text > deep/er/file"), &[(&cache, "deep/er")]);
    succeed(driver, &write).await;
    let read = mounted(task("read", "cat", &["here/file"]), &[(&cache, "here")]);
    assert_eq!(succeed(driver, &read).await, "text\n");

    // At the same time, too: each end of a fifo waits for the other.
    succeed(driver, &mounted(sh("mkfifo v/fifo"), &[(&cache, "v")])).await;
    let write = mounted(sh("echo hello > v/fifo"), &[(&cache, "v")]);
    let read = mounted(task("read", "cat", &["v/fifo"]), &[(&cache, "v")]);
    let (_, text) = tokio::join!(succeed(driver, &write), succeed(driver, &read));
    assert_eq!(text, "hello\n");
}

pub async fn volumes_keep_modes_links_and_times(driver: &dyn Driver) {
    let kept = volume(driver, "kept").await;
    let make = "cd v; echo x > file; chmod 751 file; ln -s file link; ln file hard; mkdir dir; \
                chmod 555 dir; touch -d '2001-02-03 04:05:06.789 UTC' file";
    succeed(driver, &mounted(sh(make), &[(&kept, "v")])).await;
    let look = "cd v; stat -c '%n %a %h' file; readlink link; stat -c %a dir .; \
                date -u -r file +%FT%T.%3N";
    let found = succeed(driver, &mounted(sh(look), &[(&kept, "v")])).await;
    assert_eq!(found, "file 751 2\nfile\n555\n755\n2001-02-03T04:05:06.789\n");
}

pub async fn a_volume_is_created_once(driver: &dyn Driver) {
    for name in ["once", "a/b c", "🚀", &"x".repeat(300)] {
        let first = volume(driver, name).await;
        succeed(driver, &mounted(sh("echo kept > v/file"), &[(&first, "v")])).await;
        let second = volume(driver, name).await;
        assert_eq!((&first.name, &first.path), (&second.name, &second.path));
        let read = mounted(task("read", "cat", &["v/file"]), &[(&second, "v")]);
        assert_eq!(succeed(driver, &read).await, "kept\n");
    }
    let other = volume(driver, "A/b c").await;
    assert_eq!(succeed(driver, &mounted(sh("ls -A v"), &[(&other, "v")])).await, "");
}

pub async fn a_command_that_does_not_exist_is_named(driver: &dyn Driver) {
    for path in ["no-such-command", "/no/such/command", "./no-such-command"] {
        let error = finish(driver, &task("test", path, &["x"])).await.unwrap_err();
        assert!(matches!(error, DriverError::CannotStart { .. }), "{error:?}");
        assert!(error.to_string().contains(&format!("`{path}`")), "{error}");
    }
    // The driver is none the worse for it.
    succeed(driver, &sh("true")).await;
}

pub async fn many_tasks_run_at_the_same_time(driver: &dyn Driver) {
    let tasks = (0..200).map(|i| {
        let name = if i % 2 == 0 { "same".into() } else { format!("task {i}") };
        let script = format!("ls -A; echo {i} > file; cat file; ls -A");
        let spec = TaskSpec { name, ..sh(&script) };
        async move { (i, succeed(driver, &spec).await) }
    });
    for (i, text) in futures_util::future::join_all(tasks).await {
        assert_eq!(text, format!("{i}\nfile\n"));
    }
}

pub async fn a_task_without_a_network_has_its_loopback_alone(driver: &dyn Driver) {
    let script = "grep -c : /proc/net/dev; grep -o lo: /proc/net/dev\n\
                  bash -c ': < /dev/tcp/127.0.0.1/9' 2>&1 | grep -q 'Connection refused' && echo refused";
    let offline = edit(sh(script), |spec| spec.container.offline = true);
    assert_eq!(succeed(driver, &offline).await, "1\nlo:\nrefused\n");
}

pub async fn names_may_be_any_text(driver: &dyn Driver) {
    let long = "x".repeat(300);
    let names = ["a/b", "a b", "🚀", "..", ".", "", "-rf", "A", "a", "a.2", "a\nb", "nul\0", &long];
    // All at once, so that each has a directory of its own.
    let tasks = names.map(|name| async move {
        let spec = TaskSpec { name: name.into(), ..sh("ls -A; echo x > file; cat file; ls -A") };
        succeed(driver, &spec).await
    });
    for text in futures_util::future::join_all(tasks).await {
        assert_eq!(text, "x\nfile\n");
    }
}

pub async fn a_cancelled_task_leaves_no_process(driver: &dyn Driver) {
    let locks = volume(driver, "locks").await;
    let script = format!(
        "{TAKE_LOCK}
         (trap '' TERM; while :; do sleep 1000; done) &
         setsid sh -c 'trap \"\" TERM HUP; while :; do sleep 1000; done' &
         sh -c 'setsid sh -c \"sleep 1000 & sleep 1000 & wait\" >/dev/null 2>&1 </dev/null &'
         sh -c 'kill -STOP $$' &
         echo ready
         sleep 1000"
    );
    let (exit, _) = cancel_when_ready(driver, &mounted(sh(&script), &[(&locks, "v")])).await;
    assert_eq!(exit, TaskExit::Cancelled);
    succeed(driver, &lock_is_free(&locks)).await;
}

pub async fn a_cancelled_task_may_clean_up(driver: &dyn Driver) {
    let script = "trap 'echo cleaned up; exit 0' TERM; echo ready; sleep 1000 & wait";
    let (exit, text) = cancel_when_ready(driver, &sh(script)).await;
    assert_eq!((exit, text.as_str()), (TaskExit::Cancelled, "ready\ncleaned up\n"));
}

pub async fn a_task_that_is_cancelled_before_it_starts_does_not_run(driver: &dyn Driver) {
    let trace = volume(driver, "trace").await;
    let (sink, _chunks) = updates(1);
    let cancel = CancellationToken::new();
    cancel.cancel();
    let spec = mounted(sh("echo ran > v/file"), &[(&trace, "v")]);
    assert_eq!(exit(driver.run(&spec, sink, cancel)).await.unwrap(), TaskExit::Cancelled);
    assert_eq!(succeed(driver, &mounted(sh("ls -A v"), &[(&trace, "v")])).await, "");
}

pub async fn dropping_a_run_ends_its_task(driver: &dyn Driver) {
    let locks = volume(driver, "locks").await;
    let script = format!(
        "{TAKE_LOCK} trap '' TERM; setsid sleep 1000 & echo ready; while :; do sleep 1000; done"
    );
    let spec = mounted(sh(&script), &[(&locks, "v")]);
    let (sink, mut chunks) = updates(1);
    tokio::select! {
        exit = exit(driver.run(&spec, sink, CancellationToken::new())) => panic!("{exit:?}"),
        chunk = chunks.recv() => assert_eq!(chunk.unwrap().1, b"ready\n"),
    }
    let wait = task("probe", "flock", &["-w", "50", "v/lock", "true"]);
    succeed(driver, &mounted(wait, &[(&locks, "v")])).await;
}

pub async fn a_process_in_the_background_stays_until_the_end(driver: &dyn Driver) {
    let shared = volume(driver, "shared").await;
    let script = format!(
        "{TAKE_LOCK} mkfifo v/door
         (trap '' HUP; read word < v/door; echo heard $word; exec sleep 1000) &
         echo started"
    );
    let spec = mounted(sh(&script), &[(&shared, "v")]);
    let (sink, mut chunks) = updates(4);
    let exit = exit(driver.run(&spec, sink, CancellationToken::new()));
    assert_eq!(timeout(PATIENCE, exit).await.unwrap().unwrap(), TaskExit::Code(0));
    assert_eq!(chunks.recv().await, Some((Stream::Stdout, b"started\n".to_vec())));

    let probe = timeout(PATIENCE, finish(driver, &lock_is_free(&shared))).await.unwrap().unwrap();
    assert_eq!(probe.exit, TaskExit::Code(1));
    succeed(driver, &mounted(sh("echo hello > v/door"), &[(&shared, "v")])).await;
    let heard = timeout(PATIENCE, chunks.recv()).await.unwrap();
    assert_eq!(heard, Some((Stream::Stdout, b"heard hello\n".to_vec())));

    // It holds the output open for as long as it lives.
    let both = async { tokio::join!(driver.close(), chunks.recv()) };
    let (closed, end) = timeout(PATIENCE, both).await.unwrap();
    closed.unwrap();
    assert_eq!(end, None);
}

pub async fn a_process_that_never_stops_writing_does_not_keep_its_task(driver: &dyn Driver) {
    let (sink, mut chunks) = updates(4);
    let run = async {
        let spec = sh("yes & echo started");
        exit(driver.run(&spec, sink, CancellationToken::new())).await
    };
    let read = async { while chunks.recv().await.is_some() {} };
    let rest = async {
        assert_eq!(timeout(PATIENCE, run).await.unwrap().unwrap(), TaskExit::Code(0));
        driver.close().await.unwrap();
    };
    timeout(PATIENCE, async { tokio::join!(rest, read) }).await.unwrap();
}

pub async fn closing_ends_running_tasks(driver: &dyn Driver) {
    let (sink, mut chunks) = updates(4);
    let spec = sh("trap '' TERM; echo ready; while :; do sleep 1000; done");
    let close = async {
        assert_eq!(chunks.recv().await, Some((Stream::Stdout, b"ready\n".to_vec())));
        driver.close().await.unwrap();
        driver.close().await.unwrap();
    };
    let both =
        async { tokio::join!(exit(driver.run(&spec, sink, CancellationToken::new())), close) };
    let (exit, ()) = timeout(PATIENCE, both).await.unwrap();
    assert_eq!(exit.unwrap(), TaskExit::Cancelled);
}

/// A listener that neither listens nor goes away does not keep a run from ending.
pub async fn closing_does_not_wait_for_a_listener(driver: &dyn Driver) {
    let (sink, mut chunks) = updates(1);
    let spec = sh("yes & yes >&2 & echo started");
    {
        let run = exit(driver.run(&spec, sink, CancellationToken::new()));
        tokio::pin!(run);
        loop {
            tokio::select! {
                exit = &mut run => break assert_eq!(exit.unwrap(), TaskExit::Code(0)),
                Some(_) = chunks.recv() => {}
            }
        }
    }
    timeout(PATIENCE, driver.close()).await.unwrap().unwrap();
    drop(chunks);
}

/// Nor one that stops listening to a task that it cancelled.
pub async fn cancelling_does_not_wait_for_a_listener(driver: &dyn Driver) {
    let (sink, mut chunks) = updates(1);
    let cancel = CancellationToken::new();
    let spec = sh("echo ready; yes & exec yes >&2");
    let listen = async {
        chunks.recv().await;
        cancel.cancel();
    };
    let both = async { tokio::join!(exit(driver.run(&spec, sink, cancel.clone())), listen) };
    let (exit, ()) = timeout(PATIENCE, both).await.unwrap();
    assert_eq!(exit.unwrap(), TaskExit::Cancelled);
}
