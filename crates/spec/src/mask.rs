//! DSNs and URLs without what is secret in them.

/// A DSN or URL for display: what may be a key or a secret becomes `***`, in malformed text too.
///
/// Everything between `//` and the last `@` after it counts, whatever it looks like, so that a
/// secret with unusual characters is covered; after a second `s3://` this begins anew, so that
/// `native://?cache=s3://KEY:SECRET@host/bucket` is still readable. Percent-encoded delimiters
/// count as well.
pub fn masked(dsn: &str) -> String {
    let inner = find_store(dsn);
    let (outer, inner) = dsn.split_at(inner);
    let mut text = String::with_capacity(dsn.len());
    // Without a scheme inside of it, the whole is one URL.
    if !outer.is_empty() {
        mask_one(outer, &mut text);
    }
    mask_one(inner, &mut text);
    text
}

/// Where the first `s3://` begins, however it is spelled; later ones may be part of a secret.
fn find_store(dsn: &str) -> usize {
    // ASCII only changes its case, so that positions stay the same.
    let lower = dsn.to_ascii_lowercase();
    let starts = ["s3://", "s3%3a//", "s3%3a%2f%2f", "s3:%2f%2f"];
    starts.iter().filter_map(|start| lower.find(start)).min().unwrap_or(0)
}

fn mask_one(url: &str, text: &mut String) {
    let lower = url.to_ascii_lowercase();
    let authority = ["//", "%2f%2f"].iter().filter_map(|mark| end_of(&lower, mark)).min();
    let start = authority.unwrap_or(0);
    let end = ["@", "%40"].iter().filter_map(|mark| lower.rfind(mark)).max();
    match end.filter(|end| *end >= start) {
        Some(end) => {
            text.push_str(&url[..start]);
            text.push_str("***");
            text.push_str(&url[end..]);
        }
        // An `@` only before `//`: nothing here has a known shape.
        None if end.is_some() => text.push_str("***"),
        None => mask_after_colon(url, text),
    }
}

/// Covers `KEY:SECRET` whose `@` was forgotten: what follows a colon in an authority and is no
/// port, up to the end.
fn mask_after_colon(url: &str, text: &mut String) {
    let lower = url.to_ascii_lowercase();
    let mut from = 0;
    while let Some(start) =
        ["//", "%2f%2f"].iter().filter_map(|mark| end_of(&lower[from..], mark)).min()
    {
        let start = from + start;
        let ends = ["/", "?", "#", "&", "%2f", "%3f", "%26"];
        let rest = &lower[start..];
        let end = ends.iter().filter_map(|mark| rest.find(mark)).min().unwrap_or(rest.len());
        let authority = &rest[..end];
        // The colons of an IPv6 address are none of these.
        let address = if authority.starts_with('[') { end_of(authority, "]") } else { None };
        let address = address.unwrap_or(0);
        let colons = [":", "%3a"].iter().filter_map(|mark| end_of(&authority[address..], mark));
        if let Some(colon) = colons.min() {
            let colon = address + colon;
            if !authority[colon..].is_empty() && !is_port(&authority[colon..]) {
                text.push_str(&url[..start + colon]);
                text.push_str("***");
                return;
            }
        }
        from = start;
    }
    text.push_str(url);
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

fn end_of(text: &str, mark: &str) -> Option<usize> {
    text.find(mark).map(|start| start + mark.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_covered_and_the_rest_is_readable() {
        let table = [
            ("s3://bucket/prefix?region=x", "s3://bucket/prefix?region=x"),
            ("s3://KEY:SECRET@host:9000/bucket", "s3://***@host:9000/bucket"),
            ("s3://http://KEY:SECRET@host/bucket", "s3://***@host/bucket"),
            ("s3://KEY:SEC/R@T@host/bucket", "s3://***@host/bucket"),
            ("s3://KEY:SEC//s3://RET@host/bucket", "s3://***@host/bucket"),
            (
                "native://?cache=s3://KEY:SECRET@host/b&region=x",
                "native://?cache=s3://***@host/b&region=x",
            ),
            (
                "native://ns?cache=s3%3A%2F%2FKEY%3ASEC%252FRET%40host%2Fb",
                "native://ns?cache=s3%3A%2F%2F***%40host%2Fb",
            ),
            ("docker://u:p@host?cache=s3://K:S@h/b", "docker://***@host?cache=s3://***@h/b"),
            ("s3://KEY:SECRET", "s3://KEY:***"),
            ("s3://KEY:SECRET/bucket", "s3://KEY:***"),
            ("s3://http://KEY:SECRET/bucket", "s3://http://KEY:***"),
            ("s3://http://host:9000/bucket", "s3://http://host:9000/bucket"),
            ("s3://b?endpoint=http://KEY:SECRET", "s3://b?endpoint=http://KEY:***"),
            ("s3://[::1]:9000/bucket", "s3://[::1]:9000/bucket"),
            ("s3%3A%2F%2Fhost%3A9000%2Fb", "s3%3A%2F%2Fhost%3A9000%2Fb"),
            ("s3:KEY:SECRET@host", "***@host"),
            ("http://localhost:9000", "http://localhost:9000"),
            (
                "native://?cache=s3://b?endpoint=http://localhost:9000&region=x",
                "native://?cache=s3://b?endpoint=http://localhost:9000&region=x",
            ),
            ("file:///var/cache?ttl=7d", "file:///var/cache?ttl=7d"),
            ("", ""),
        ];
        for (dsn, expected) in table {
            assert_eq!(masked(dsn), expected, "{dsn}");
        }
    }
}
