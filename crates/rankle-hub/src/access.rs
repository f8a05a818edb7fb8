//! What a user says of downloads.

use std::path::PathBuf;

/// Where the hub is, whether it may be asked, and how long that may take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "arguments", derive(clap::Args))]
#[cfg_attr(feature = "arguments", command(next_help_heading = "The hub"))]
pub struct Access {
    /// The address of the hub; that of huggingface.co when left out
    #[cfg_attr(feature = "arguments", arg(long, global = true, value_name = "URL", env = "HF_ENDPOINT"))]
    pub endpoint: Option<String>,
    /// Download nothing: take what the cache holds
    #[cfg_attr(feature = "arguments", arg(long, global = true))]
    pub offline: bool,
    /// The folder of the cache; .cache/huggingface/hub in the user's home when left out, as for other programs
    #[cfg_attr(feature = "arguments", arg(long, global = true, value_name = "FOLDER"))]
    pub hub_cache: Option<PathBuf>,
    /// The address of an HTTP proxy, where one is needed
    #[cfg_attr(feature = "arguments", arg(long, global = true, value_name = "URL"))]
    pub proxy: Option<String>,
    /// The longest that the download of one file may take, from the second that it goes on; when left out, five minutes and a
    /// second for every 10,000 bytes that came. What came is kept: the same command goes on there
    #[cfg_attr(feature = "arguments", arg(long, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..)))]
    pub max_time: Option<u64>,
}
