//! What shells and tools really print is hidden.

use std::io;
use std::process::{Command, Stdio};

use mask::{SecretSet, SecretValue};

/// What a script prints with the value in `V`, hidden.
fn printed(value: &str, script: &str) -> io::Result<String> {
    let mut command = Command::new("bash");
    command.args(["-c", script]).env("V", value).env("LC_ALL", "C").stdin(Stdio::null());
    let output = command.output()?;
    let text = [output.stdout, output.stderr].concat();
    let set = SecretSet::new([("V", SecretValue::new(value))]);
    // Which of its two quotes bash takes depends on its version and on the locale.
    Ok(String::from_utf8_lossy(&set.mask_bytes(&text)).replace("$'", "'"))
}

#[test]
fn what_is_printed_is_hidden() -> io::Result<()> {
    const PLAIN: &str = "tok-EN_0123456789.abc";
    const SPECIAL: &str = "it's \"x\" $y !z `w`,{a}~#^|&;<>()[]?\\=%@:/+";
    const CONTROL: &str = "it's \"x\" $y \\ é\t\u{1b}[0m\u{7}q\nline two\n\n\nshort\nline five";
    let cases = [
        ("echo \"$V\"", ["***\n", "***\n", "***\n"]),
        ("printf '%q\\n' \"$V\"", ["***\n", "***\n", "'***'\n"]),
        ("echo \"${V@Q}\"", ["'***'\n", "'***'\n", "'***'\n"]),
        (
            "declare -p V",
            ["declare -x V=\"***\"\n", "declare -x V=\"***\"\n", "declare -x V='***'\n"],
        ),
        ("set -x; : \"$V\"", ["+ : ***\n", "+ : '***'\n", "+ : '***'\n"]),
        ("printf '%s' \"$V\" | base64 -w 10", ["***\n", "***\n", "***\n"]),
        ("echo \"$V\" | base64 -w 0", ["***", "***", "***"]),
        ("echo \"user:$V\" | base64 -w 7", ["dXNlcjp\n***\n", "dXNlcjp\n***\n", "dXNlcjp\n***\n"]),
        ("echo \"$V\" | fold -w 5", ["***\n", "***\n", "***\n"]),
        ("echo \"$V\" | sed 's/$/\\r/'", ["***\r\n", "***\r\n", "***\r\n"]),
        ("for ((i = 0; i < ${#V}; i++)); do printf '%s' \"${V:i:1}\"; done", ["***", "***", "***"]),
    ];
    for (script, expected) in cases {
        for (value, expected) in [PLAIN, SPECIAL, CONTROL].into_iter().zip(expected) {
            assert_eq!(printed(value, script)?, expected, "{script} {value}");
        }
    }
    Ok(())
}
