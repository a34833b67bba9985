//! The formats of `short_ref_format`: those of printf for one text.

use crate::error::{ResourceError, printable};

/// Understands `%s` with a width and a precision, `%%`, `\n`, `\t` and `\\`.
pub fn format(format: &str, text: &str) -> Result<String, ResourceError> {
    let mut out = String::new();
    let mut letters = format.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => out.push(match letters.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('\\') => '\\',
                _ => return Err(wrong(format)),
            }),
            '%' if letters.next_if_eq(&'%').is_some() => out.push('%'),
            '%' => {
                let is_left = letters.next_if_eq(&'-').is_some();
                let width = number(&mut letters);
                let precision = letters.next_if_eq(&'.').map(|_| number(&mut letters));
                if letters.next() != Some('s') || width > 4096 {
                    return Err(wrong(format));
                }
                let shown: String = text.chars().take(precision.unwrap_or(usize::MAX)).collect();
                out.push_str(&match is_left {
                    true => format!("{shown:<width$}"),
                    false => format!("{shown:>width$}"),
                });
            }
            other => out.push(other),
        }
    }
    Ok(out)
}

fn number(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> usize {
    let mut number = 0_usize;
    while let Some(digit) = letters.peek().and_then(|letter| letter.to_digit(10)) {
        number = number.saturating_mul(10).saturating_add(digit as usize);
        letters.next();
    }
    number
}

fn wrong(format: &str) -> ResourceError {
    ResourceError::failed(format!(
        "`short_ref_format` is `{}`, which has something other than `%s` and `%%` after a `%`",
        printable(format)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_formatted_as_printf_does() {
        for (pattern, expected) in [
            ("%s", "1234567"),
            ("sha-%s", "sha-1234567"),
            ("%.3s", "123"),
            ("%9s|", "  1234567|"),
            ("%-9s|", "1234567  |"),
            ("100%%", "100%"),
        ] {
            assert_eq!(format(pattern, "1234567").unwrap(), expected);
        }
        for pattern in ["%", "%d", "%99999999999999999999s", "\\x"] {
            assert!(format(pattern, "1").is_err(), "{pattern}");
        }
    }
}
