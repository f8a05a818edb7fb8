//! The program `rankle-hub`, which downloads, so that this program stays small. It is built if need be.

use crate::driver::cargo;
use crate::process;
use anyhow::{Result, bail};
use clap::Args;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Options for the hub.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Downloads")]
pub(super) struct Hub {
    /// Address of the hub; default: HF_ENDPOINT of the environment, else huggingface.co
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Take another branch, tag or commit of the dataset on the hub
    #[arg(long, value_name = "REVISION")]
    revision: Option<String>,
    /// Download nothing; use only files in the hub's cache
    #[arg(long)]
    offline: bool,
    /// Folder of the hub's cache; default: .cache/huggingface/hub in your home, as for other programs
    #[arg(long, value_name = "FOLDER")]
    hub_cache: Option<PathBuf>,
    /// Address of an HTTP proxy
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
    /// Largest duration of the download of one file, counted from its start or resumption; default: 300 seconds and one more for
    /// every 10,000 bytes received. Received bytes are kept, and the same command resumes
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    max_time: Option<u64>,
}

impl Hub {
    /// Arguments to fetch a dataset in tables; `command` is `idx` or `photos`. `revision` is the default of --revision.
    pub(super) fn table(&self, command: &str, repository: &str, revision: Option<&str>, output: &Path) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec![command.into(), repository.into(), "--output".into(), output.into()];
        if let Some(revision) = self.revision.as_deref().or(revision) {
            arguments.extend(["--revision".into(), revision.into()]);
        }
        arguments
    }

    /// Runs the program, which reports its own progress.
    ///
    /// # Errors
    /// When it does not build or fails.
    pub(super) fn run(&self, arguments: Vec<OsString>) -> Result<()> {
        let mut command = cargo();
        command.args(["run", "--package", "rankle-hub", "--features", "fetch", "--quiet", "--"]);
        command.args(self.arguments()?).args(arguments);
        if !process::run(&mut command, "the same command goes on where it was")?.success() {
            bail!("nothing was fetched: the reason stands above");
        }
        Ok(())
    }

    fn arguments(&self) -> Result<Vec<OsString>> {
        let mut arguments: Vec<OsString> = Vec::new();
        if let Some(endpoint) = &self.endpoint {
            arguments.extend(["--endpoint".into(), endpoint.into()]);
        }
        if let Some(folder) = &self.hub_cache {
            arguments.extend(["--hub-cache".into(), std::path::absolute(folder)?.into()]);
        }
        if let Some(proxy) = &self.proxy {
            arguments.extend(["--proxy".into(), proxy.into()]);
        }
        if let Some(seconds) = self.max_time {
            arguments.extend(["--max-time".into(), seconds.to_string().into()]);
        }
        if self.offline {
            arguments.push("--offline".into());
        }
        Ok(arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(arguments: Vec<OsString>) -> String {
        arguments.into_iter().map(|word| word.into_string().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_was_asked_for_is_handed_on() {
        let silent = Hub::default();
        assert_eq!(words(silent.arguments().unwrap()), "");
        assert_eq!(words(silent.table("idx", "a/b", None, Path::new("/o"))), "idx a/b --output /o");
        assert_eq!(words(silent.table("photos", "a/b", Some("1f"), Path::new("/o"))), "photos a/b --output /o --revision 1f");
        let all = Hub {
            endpoint: Some("http://e".into()),
            revision: Some("main".into()),
            offline: true,
            hub_cache: Some("/c".into()),
            proxy: Some("http://p".into()),
            max_time: Some(60),
        };
        assert_eq!(
            words(all.arguments().unwrap()),
            "--endpoint http://e --hub-cache /c --proxy http://p --max-time 60 --offline"
        );
        assert_eq!(words(all.table("idx", "a/b", Some("1f"), Path::new("/o"))), "idx a/b --output /o --revision main");
    }
}
