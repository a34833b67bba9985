//! What people should know of an archive, without drowning in it.

use crate::path::shown;

/// Most notices of one kind that are told in full.
const TOLD: usize = 10;

#[derive(Debug, Default)]
pub struct Notices {
    told: Vec<String>,
    more: usize,
}

impl Notices {
    pub fn add(&mut self, notice: String) {
        if self.told.len() < TOLD {
            self.told.push(notice);
        } else {
            self.more += 1;
        }
    }

    /// Adds those of somebody else.
    pub fn append(&mut self, other: Self) {
        self.more += other.more;
        other.told.into_iter().for_each(|notice| self.add(notice));
    }

    pub fn into_vec(mut self) -> Vec<String> {
        if self.more > 0 {
            self.told.push(format!("and {} more of this kind", self.more));
        }
        self.told
    }
}

/// What was left out of an archive, for people.
pub fn left_out(path: &[u8], what: &str) -> String {
    format!("`{}` is not in the archive: {what}", shown(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_there_are_a_few_are_told() {
        let mut all = Notices::default();
        for thread in 0..3 {
            let mut notices = Notices::default();
            (0..1000).for_each(|number| notices.add(format!("{thread}.{number}")));
            assert_eq!(notices.told.len(), TOLD);
            all.append(notices);
        }
        let told = all.into_vec();
        assert_eq!(told.len(), TOLD + 1);
        assert_eq!(told[TOLD], "and 2990 more of this kind");
    }
}
