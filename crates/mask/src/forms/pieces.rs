//! The forms of a large value, in pieces.

use super::encode::{Inside, hex};
use super::escape::json;
use super::{LINE, PIECE, is_telling, lines};

/// Bytes of short lines that are one piece.
const SHORT_LINES: usize = 32;

/// Adds the pieces of a value: about seven times its bytes, and nine times if it has to be escaped for JSON.
pub fn all(value: &[u8], add: &mut impl FnMut(&[u8])) {
    let mut add = |piece: &[u8]| {
        if is_telling(piece) {
            add(piece);
        }
    };
    let mut short: Vec<u8> = Vec::new();
    for line in lines(value) {
        if line.len() < LINE {
            short.extend_from_slice(line);
        }
        if line.len() >= LINE || short.len() >= SHORT_LINES {
            add(&short);
            short.clear();
        }
        if line.len() >= LINE {
            cut(line).for_each(&mut add);
            let escaped = json(line);
            if escaped != line {
                cut(&escaped).for_each(&mut add);
            }
        }
    }
    add(&short);
    for inside in Inside::all(value) {
        let own = inside.own();
        cut(own).for_each(&mut add);
        let last = cut(own).last().map_or(0, <[u8]>::len);
        add(inside.at_end(own.len() - last));
    }
    cut(&hex(value)).for_each(&mut add);
}

/// Pieces that follow each other. The last one may be shorter, but not so short that it would not count.
fn cut(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let end = if bytes.len() < PIECE + LINE { bytes.len() } else { PIECE };
        let (piece, rest) = bytes.split_at(end);
        bytes = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_tile() {
        for size in [0, 1, PIECE, PIECE + LINE - 1, PIECE + LINE, 3 * PIECE + 1] {
            let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(size).collect();
            let pieces: Vec<&[u8]> = cut(&bytes).collect();
            assert_eq!(pieces.concat(), bytes);
            assert!(pieces.iter().all(|piece| size < LINE || piece.len() >= LINE), "{size}");
        }
    }
}
