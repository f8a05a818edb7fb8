//! Datasets of photographs: a published archive, another archive, or tables on the hub.

use super::hub::Hub;
use super::manifest::{Home, Photos};
use crate::files;
use anyhow::{Result, bail, ensure};
use rankle_cli::answer;
use std::ffi::OsString;
use std::path::Path;

/// Downloads, checks and unpacks a dataset, unless it exists.
///
/// # Errors
/// One line with the mistake and the remedy.
pub(super) fn get(manifest: &Photos, from: Option<&Path>, url: Option<&str>, hub: &Hub, folder: &Path) -> Result<()> {
    let output = folder.join(&manifest.folder);
    let shown = files::shown(&output);
    if output.join(&manifest.landmark).exists() {
        return answer(format_args!("{} is there already: {shown}; to get it again, remove that folder", manifest.title));
    }
    if output.symlink_metadata().is_ok() {
        bail!("{shown} is there, but holds no {}: remove it", manifest.landmark);
    }
    if let Some(path) = from {
        ensure!(!path.is_dir(), "{} is a folder already: name it with --dataset-dir where it is used", path.display());
        ensure!(path.is_file(), "there is no archive {}", path.display());
    }
    hub.run(arguments(manifest, from, url, hub, folder))?;
    let Photos { title, license, attribution, source, .. } = manifest;
    let folder = files::shown(folder);
    answer(format_args!("{title}: {shown} ({license}; {attribution}; {source}); pass --dataset-dir {folder}"))
}

/// The published hash, for an archive from elsewhere: a difference is reported, not refused.
fn published(home: &Home) -> Vec<(&'static str, String)> {
    match home {
        Home::Archive(home) => vec![("--published", home.sha256.clone())],
        Home::Hub(_) => Vec::new(),
    }
}

/// Arguments for the program that downloads.
fn arguments(manifest: &Photos, from: Option<&Path>, url: Option<&str>, hub: &Hub, folder: &Path) -> Vec<OsString> {
    let output = folder.join(&manifest.folder);
    let archive = |source: &str, place: OsString, known: &[(&str, String)]| {
        let mut arguments: Vec<OsString> = vec!["archive".into(), source.into(), place, "--output".into(), output.clone().into()];
        arguments.extend(["--lock".into(), folder.join("SHA256SUMS").into()]);
        let limits = [
            ("--landmark", manifest.landmark.clone()),
            ("--most-entries", manifest.most_entries.to_string()),
            ("--most-bytes", manifest.most_bytes.to_string()),
        ];
        arguments.extend(limits.iter().chain(known).flat_map(|(name, value)| [name.into(), value.into()]));
        arguments
    };
    match (from, url, &manifest.home) {
        (Some(path), _, home) => archive("--file", path.into(), &published(home)),
        (None, Some(url), home) => archive("--url", url.into(), &published(home)),
        (None, None, Home::Archive(home)) => {
            let known = [("--bytes", home.bytes.to_string()), ("--sha256", home.sha256.clone())];
            archive("--url", home.url.clone().into(), &known)
        }
        (None, None, Home::Hub(tables)) => {
            let mut arguments = hub.table("photos", &tables.repository, Some(&tables.revision), &output);
            arguments.extend(["--classes".into(), tables.classes.to_string().into()]);
            arguments.extend(tables.splits.iter().flat_map(|split| ["--split".into(), split.into()]));
            arguments
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Name, manifest};
    use super::*;
    use clap::ValueEnum;

    fn of_repository(name: &str) -> Photos {
        manifest::read(&files::root().join("datasets").join(name).join("manifest.toml")).unwrap()
    }

    fn line(name: &str, from: Option<&str>, url: Option<&str>) -> String {
        let arguments = arguments(&of_repository(name), from.map(Path::new), url, &Hub::default(), Path::new("/d"));
        arguments.into_iter().map(|word| word.into_string().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_manifests_of_the_repository_are_read() {
        for name in Name::value_variants().iter().filter(|name| name.is_archive()) {
            let manifest = of_repository(name.as_str());
            match manifest.home {
                Home::Archive(home) => {
                    assert!(home.sha256.len() == 64 && home.bytes < manifest.most_bytes && home.url.starts_with("http"));
                }
                Home::Hub(tables) => assert!(tables.revision.len() == 40 && tables.splits.len() == 2),
            }
        }
    }

    #[test]
    fn published_hashes_are_demanded_only_of_what_was_published() {
        let published = line("cub", None, None);
        assert!(published.starts_with("archive --url https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz"));
        assert!(published.contains("--output /d/CUB_200_2011 --lock /d/SHA256SUMS --landmark images.txt --most-entries 50000"));
        assert!(
            published.ends_with("--bytes 1150585339 --sha256 0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081")
        );
        let elsewhere = line("cub", None, Some("http://mirror/birds.zip"));
        assert!(elsewhere.starts_with("archive --url http://mirror/birds.zip") && !elsewhere.contains("--sha256"));
        assert!(elsewhere.ends_with("--published 0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081"));
        assert!(line("cars", Some("/a.tgz"), None).starts_with("archive --file /a.tgz --output /d/cars"));
        assert_eq!(
            line("cars", None, None),
            "photos tanganke/stanford_cars --output /d/cars --revision 9abf6cf7d6dfa7b95152a0d6e791ea9435b47a40 --classes 196 \
             --split train:cars_train:8144 --split test:cars_test:8041"
        );
    }

    #[test]
    fn what_is_there_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = of_repository("cub");
        let get = |from: Option<&Path>| get(&manifest, from, None, &Hub::default(), folder.path());
        let says = |from: &Path| get(Some(from)).unwrap_err().to_string();
        assert!(says(folder.path()).contains("name it with --dataset-dir"));
        assert!(says(Path::new("/no/such.tgz")).contains("there is no archive"));
        std::fs::create_dir(folder.path().join("CUB_200_2011")).unwrap();
        assert!(says(Path::new("/no/such.tgz")).contains("holds no images.txt"));
        std::fs::write(folder.path().join("CUB_200_2011/images.txt"), "").unwrap();
        get(None).unwrap();
    }
}
