//! What every driver keeps its word about where a task has failed and a user wants to look around, as
//! functions over `&dyn Driver`.

use ci::driver::{Driver, DriverError, KeptTask, TaskEnd, Terminal, WindowSize};
use ci::task::{TaskExit, TaskSpec};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::driving::{
    PATIENCE, TAKE_LOCK, edit, finish, finish_kept, lock_is_free, mounted, sh, succeed, task,
    updates, volume,
};

fn kept(spec: TaskSpec) -> TaskSpec {
    edit(spec, |spec| spec.keep = true)
}

/// All that a shell shows in which this is typed.
pub async fn type_in(kept: &dyn KeptTask, keys: &str) -> Result<String, DriverError> {
    let (typed, input) = mpsc::channel(1);
    let (output, mut shown) = mpsc::channel(1);
    let (_sizes, size) = watch::channel(WindowSize { rows: 33, columns: 77 });
    typed.send(keys.into()).await.unwrap();
    let (gone, opened) = Default::default();
    let terminal = Terminal { input, output, size, gone, kind: "dumb".into(), opened };
    let read = async {
        let mut all = Vec::new();
        while let Some(bytes) = shown.recv().await {
            all.extend(bytes);
        }
        String::from_utf8(all).unwrap()
    };
    let both = async { tokio::join!(kept.shell(terminal), read) };
    let (ended, text) = timeout(PATIENCE, both).await.unwrap();
    ended.map(|()| text)
}

/// Runs a task that fails, and returns what is kept of it.
pub async fn fail(driver: &dyn Driver, spec: &TaskSpec) -> Box<dyn KeptTask> {
    let (finished, kept) = finish_kept(driver, spec).await;
    assert_ne!(finished.unwrap().exit, TaskExit::Code(0));
    kept.unwrap()
}

#[track_caller]
pub fn has_line(text: &str, line: &str) {
    assert!(text.lines().any(|found| found == line), "no line `{line}` in {text:?}");
}

pub async fn a_shell_has_what_its_task_had(driver: &dyn Driver) {
    let shared = volume(driver, "shared").await;
    let mut spec = kept(sh("echo of the task > file; echo of the volume > ../v/file; exit 3"));
    spec.exec.env = vec![("WORD".into(), "a word".into())];
    spec.exec.work_dir = Some("below".into());
    let spec = mounted(spec, &[(&shared, "v")]);
    let (finished, kept) = finish_kept(driver, &spec).await;
    assert_eq!(finished.unwrap().exit, TaskExit::Code(3));
    let kept = kept.unwrap();
    // Echoes of what is typed have no such lines.
    let keys =
        "cat file; cat ../v/file; echo $WORD, $TERM; stty size; echo more >> ../v/file; exit\n";
    let text = type_in(&*kept, keys).await.unwrap();
    for line in ["of the task", "of the volume", "a word, dumb", "33 77"] {
        has_line(&text, line);
    }
    kept.discard().await;
    let read = mounted(task("read", "cat", &["v/file"]), &[(&shared, "v")]);
    assert_eq!(succeed(driver, &read).await, "of the volume\nmore\n");
}

pub async fn a_shell_of_another_user_is_that_users(driver: &dyn Driver) {
    let mut spec = kept(sh("exit 1"));
    spec.exec.command.user = Some("65534:65534".into());
    let kept = fail(driver, &spec).await;
    let text = type_in(&*kept, "echo $(id -u), $(id -g); echo > $(tty); exit\n").await.unwrap();
    has_line(&text, "65534, 65534");
    assert!(!text.contains("denied"), "{text}");
}

pub async fn a_shell_is_there_for_a_command_that_is_not(driver: &dyn Driver) {
    let spec = kept(task("test", "no-such-command", &[]));
    let (finished, kept) = finish_kept(driver, &spec).await;
    let error = finished.unwrap_err();
    assert!(matches!(error, DriverError::CannotStart { .. }), "{error}");
    has_line(&type_in(&*kept.unwrap(), "echo 1$((1 + 1))3; exit\n").await.unwrap(), "123");
}

pub async fn a_shell_is_there_for_a_command_in_a_sandbox(driver: &dyn Driver) {
    let surroundings = sh("").sandbox();
    let sandbox = driver.open_sandbox(&surroundings).await.unwrap();
    let mut spec = kept(sh("echo of the sandbox > file; exit 1"));
    spec.name = "command".into();
    let (sink, _chunks) = updates(4);
    let TaskEnd { exit, kept } = sandbox.exec(&spec, sink, Default::default()).await;
    assert_eq!(exit.unwrap(), TaskExit::Code(1));
    let kept = kept.unwrap();
    has_line(&type_in(&*kept, "cat file; exit\n").await.unwrap(), "of the sandbox");
    kept.discard().await;
    sandbox.close().await;
}

pub async fn a_shell_shows_every_byte(driver: &dyn Driver) {
    let spec = kept(sh("exit 1"));
    let kept = fail(driver, &spec).await;
    // These could be lengths and kinds of something.
    let keys =
        "for i in $(seq 100); do printf '\\001\\001\\002\\002\\001'; /bin/true; done; exit\n";
    let text = type_in(&*kept, keys).await.unwrap();
    let count = |byte: char| text.matches(byte).count();
    assert_eq!((count('\u{1}'), count('\u{2}')), (300, 200), "{text:?}");
}

pub async fn a_shell_leaves_nothing_running(driver: &dyn Driver) {
    let locks = volume(driver, "locks").await;
    let spec = mounted(kept(sh("exit 1")), &[(&locks, "v")]);
    let kept = fail(driver, &spec).await;
    let keys = format!("{TAKE_LOCK} setsid sleep 1000 & exit\n");
    type_in(&*kept, &keys).await.unwrap();
    succeed(driver, &lock_is_free(&locks)).await;
}

/// The end of the input is that of the terminal: somebody has closed the window.
pub async fn a_shell_ends_with_its_terminal(driver: &dyn Driver) {
    let locks = volume(driver, "locks").await;
    let spec = mounted(kept(sh("exit 1")), &[(&locks, "v")]);
    let kept = fail(driver, &spec).await;
    let (typed, input) = mpsc::channel(1);
    let (output, mut shown) = mpsc::channel(1);
    let (_sizes, size) = watch::channel(WindowSize::default());
    let keys = format!("trap '' HUP TERM; {TAKE_LOCK} echo 1$((1 + 1))3; sleep 1000\n");
    typed.send(keys.into_bytes()).await.unwrap();
    let (gone, opened) = Default::default();
    let terminal = Terminal { input, output, size, gone, kind: "dumb".into(), opened };
    let read = async {
        let mut text = String::new();
        while let Some(bytes) = shown.recv().await {
            text += std::str::from_utf8(&bytes).unwrap();
            if text.contains("123") {
                break;
            }
        }
        drop(typed);
        while shown.recv().await.is_some() {}
    };
    let both = async { tokio::join!(kept.shell(terminal), read) };
    timeout(PATIENCE, both).await.unwrap().0.unwrap();
    succeed(driver, &lock_is_free(&locks)).await;
}

/// Nobody reads what the shell shows, and the shell reads nothing of what was typed.
pub async fn a_shell_whose_terminal_is_stuck_ends_with_its_user(driver: &dyn Driver) {
    let locks = volume(driver, "locks").await;
    let spec = mounted(kept(sh("exit 1")), &[(&locks, "v")]);
    let kept = fail(driver, &spec).await;
    let (typed, input) = mpsc::channel(1);
    let (output, mut shown) = mpsc::channel(1);
    let (_sizes, size) = watch::channel(WindowSize::default());
    let (gone, opened) = (CancellationToken::new(), CancellationToken::new());
    let keys = format!("stty raw; {TAKE_LOCK} yes & while :; do sleep 1000; done\n");
    typed.send(keys.into_bytes()).await.unwrap();
    let terminal = Terminal {
        input,
        output,
        size,
        gone: gone.clone(),
        kind: "dumb".into(),
        opened: opened.clone(),
    };
    let user = async {
        opened.cancelled().await;
        // The shell has begun with what was typed first.
        while !shown.recv().await.unwrap().windows(4).any(|part| part == b"y\ny\n") {}
        // The second one is accepted when the first is on its way, which has room for much less.
        for _ in 0..2 {
            typed.send(vec![b'x'; 16 << 20]).await.unwrap();
        }
        gone.cancel();
    };
    let both = async { tokio::join!(kept.shell(terminal), user) };
    timeout(PATIENCE, both).await.unwrap().0.unwrap();
    succeed(driver, &lock_is_free(&locks)).await;
}

pub async fn a_place_is_free_when_it_is_discarded(driver: &dyn Driver) {
    let spec = kept(sh("pwd; exit 1"));
    let (first, kept) = finish_kept(driver, &spec).await;
    kept.unwrap().discard().await;
    assert_eq!(succeed(driver, &sh("pwd")).await.as_bytes(), first.unwrap().stdout);
}

/// What is kept of a command outlives the wish to close its sandbox.
pub async fn a_sandbox_waits_for_a_shell(driver: &dyn Driver) {
    let sandbox = driver.open_sandbox(&sh("").sandbox()).await.unwrap();
    let mut spec = kept(sh("echo of the sandbox > file; exit 1"));
    spec.name = "command".into();
    let (sink, _chunks) = updates(4);
    let kept = sandbox.exec(&spec, sink, Default::default()).await.kept.unwrap();
    let look = async {
        let text = type_in(&*kept, "cat file; exit\n").await.unwrap();
        has_line(&text, "of the sandbox");
        kept.discard().await;
    };
    // The wish comes first.
    timeout(PATIENCE, async { tokio::join!(biased; sandbox.close(), look) }).await.unwrap();
}

pub async fn nothing_is_kept_that_was_not_to_be(driver: &dyn Driver) {
    let (finished, kept) = finish_kept(driver, &sh("exit 1")).await;
    assert_eq!(finished.unwrap().exit, TaskExit::Code(1));
    assert!(kept.is_none());
}

/// What nobody has let go of is removed with everything else.
pub async fn what_is_kept_goes_at_the_end(driver: &dyn Driver) {
    finish(driver, &kept(sh("echo > file; exit 1"))).await.unwrap();
}
