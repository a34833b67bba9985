//! How archives are compressed.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    #[default]
    Zstd,
    Gzip,
    None,
}

impl Compression {
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Gzip, Self::None];

    /// How it is called in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::None => "none",
        }
    }

    /// What the name of such an archive ends with, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Zstd => "tar.zst",
            Self::Gzip => "tar.gzip",
            Self::None => "tar",
        }
    }
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("expected `zstd`, `gzip` or `none`")]
pub struct UnknownCompression;

impl FromStr for Compression {
    type Err = UnknownCompression;

    fn from_str(text: &str) -> Result<Self, UnknownCompression> {
        Self::ALL.into_iter().find(|known| known.name() == text).ok_or(UnknownCompression)
    }
}
