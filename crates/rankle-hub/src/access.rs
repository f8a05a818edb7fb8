//! Options of a user for downloads.

use std::path::PathBuf;

/// Options for downloads: address and cache of the hub, offline mode, proxy, time limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "arguments", derive(clap::Args))]
#[cfg_attr(feature = "arguments", command(next_help_heading = "The hub"))]
pub struct Access {
    /// Address of the hub; default: huggingface.co
    #[cfg_attr(feature = "arguments", arg(long, global = true, value_name = "URL", env = "HF_ENDPOINT"))]
    pub endpoint: Option<String>,
    /// Download nothing; use only files in the cache
    #[cfg_attr(feature = "arguments", arg(long, global = true))]
    pub offline: bool,
    /// Folder of the cache; default: .cache/huggingface/hub in your home, as for other programs
    #[cfg_attr(feature = "arguments", arg(long, global = true, value_name = "FOLDER"))]
    pub hub_cache: Option<PathBuf>,
    /// Address of an HTTP proxy
    #[cfg_attr(feature = "arguments", arg(long, global = true, value_name = "URL"))]
    pub proxy: Option<String>,
    /// Largest duration of the download of one file, counted from its start or resumption; default: 300 seconds and one more for
    /// every 10,000 bytes received. Received bytes are kept, and the same command resumes
    #[cfg_attr(feature = "arguments", arg(long, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..)))]
    pub max_time: Option<u64>,
}
