//! Datasets in four IDX files, from Debian's package or a folder, else from the hub.

use super::hub::Hub;
use super::manifest::{File, Manifest};
use crate::files;
use anyhow::{Context, Result, anyhow, bail};
use flate2::read::MultiGzDecoder;
use rankle_cli::{answer, say};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Checks the dataset that is shipped.
///
/// # Errors
/// When a file has other content than the manifest says.
pub(super) fn check_shipped(manifest: &Manifest, folder: &Path) -> Result<()> {
    for file in manifest.files() {
        settle(folder, file).map_err(|error| anyhow!("{error:#}; restore it from the repository"))?;
    }
    answer(format_args!("{} ships with the repository, and its four files are what they should be", manifest.name))
}

/// Takes the files from the given folder, else from the package's folder, else from the hub; all have the same hashes.
///
/// # Errors
/// One line with the mistake and the remedy.
pub(super) fn get(manifest: &Manifest, from: Option<&Path>, hub: &Hub, folder: &Path) -> Result<()> {
    let package = manifest.system_folder.as_deref().map(Path::new);
    let source = from.or(package).with_context(|| format!("{} has no other home: pass --from FOLDER", manifest.title))?;
    let copied = match (fetch(manifest, source, folder), &manifest.hub) {
        (Err(reason), Some(repository)) if from.is_none() => {
            say(format_args!("{} is not in {} or not whole: looking for it on the hub", manifest.title, source.display()));
            from_hub(manifest, repository, hub, folder).map_err(|error| anyhow!("{error:#} ({reason:#})"))?
        }
        (outcome, _) => outcome?,
    };
    let (title, folder) = (&manifest.title, files::shown(folder));
    match copied {
        0 => answer(format_args!("{title} was there already, and is what it should be: {folder}")),
        _ => answer(format_args!(
            "{title}: {copied} files checked and copied to {folder} ({}, {})",
            manifest.license, manifest.attribution
        )),
    }
}

fn from_hub(manifest: &Manifest, repository: &str, hub: &Hub, folder: &Path) -> Result<usize> {
    let target = files::root().join("target");
    fs::create_dir_all(&target).with_context(|| format!("cannot write {}", target.display()))?;
    let temporary = tempfile::tempdir_in(target).context("cannot write into target")?;
    hub.run(hub.table("idx", repository, None, temporary.path()))?;
    fetch(manifest, temporary.path(), folder)
}

/// Copies the files that are missing or wrong in `folder`, once all are checked; returns their number.
///
/// # Errors
/// One line with the mistake and the remedy.
fn fetch(manifest: &Manifest, source: &Path, folder: &Path) -> Result<usize> {
    let missing: Vec<&File> = manifest.files().filter(|file| verified(folder, file).is_err()).collect();
    let found: Vec<Found> = missing
        .iter()
        .map(|file| verified(source, file))
        .collect::<Result<_>>()
        .map_err(|error| anyhow!("{} cannot be fetched: {error:#}; {}", manifest.title, advice(manifest)))?;
    for Found { path, bytes } in &found {
        let name = path.file_name().context("a file has a name")?;
        files::write(&folder.join(name), bytes)?;
    }
    manifest.files().try_for_each(|file| settle(folder, file))?;
    Ok(found.len())
}

/// Removes a damaged gzipped file beside a good plain one, because readers prefer the gzipped one.
///
/// # Errors
/// When neither file is good, or the damaged one cannot be removed.
fn settle(folder: &Path, file: &File) -> Result<()> {
    let good = verified(folder, file)?.path;
    let [zipped, _] = candidates(folder, file);
    if good != zipped && zipped.is_file() {
        fs::remove_file(&zipped).with_context(|| format!("cannot remove {}, which is damaged", zipped.display()))?;
    }
    Ok(())
}

fn advice(manifest: &Manifest) -> String {
    format!(
        "install Debian's package (`apt-get install dataset-{name}`), or download the four files from {source} into a folder and run \
         `cargo xtask fetch {name} --from FOLDER`",
        name = manifest.name,
        source = manifest.source
    )
}

/// A file on the disk that agrees with the manifest.
struct Found {
    path: PathBuf,
    bytes: Vec<u8>,
}

/// Possible paths of a file of the manifest: gzipped or plain.
fn candidates(folder: &Path, file: &File) -> [PathBuf; 2] {
    [folder.join(format!("{}.gz", file.name)), folder.join(&file.name)]
}

/// Reads a file of the manifest from a folder, gzipped or else plain, and checks its decompressed length and hash.
///
/// # Errors
/// When the file does not exist; if all its forms are bad, the error of the first.
fn verified(folder: &Path, file: &File) -> Result<Found> {
    let there = candidates(folder, file).into_iter().filter(|path| path.is_file());
    let mut outcomes = there.map(|path| -> Result<Found> {
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        check(&bytes, file).with_context(|| format!("{} is not the file it should be", path.display()))?;
        Ok(Found { path, bytes })
    });
    let missing = || format!("there is no {}.gz and no {} in {}", file.name, file.name, folder.display());
    let first = outcomes.next().with_context(missing)?;
    first.or_else(|error| outcomes.next().and_then(Result::ok).ok_or(error))
}

fn check(bytes: &[u8], file: &File) -> Result<()> {
    let mut content = Vec::new();
    if bytes.starts_with(&[0x1F, 0x8B]) {
        // One byte more than expected proves that a file is too long, however much it would unpack to.
        MultiGzDecoder::new(bytes).take(file.bytes + 1).read_to_end(&mut content).context("it does not decompress")?;
    } else {
        content.extend_from_slice(bytes);
    }
    if content.len() as u64 != file.bytes {
        let more = if content.len() as u64 > file.bytes { "more" } else { "fewer" };
        bail!("it holds {more} than the expected {} bytes", file.bytes);
    }
    let hash: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    if hash != file.sha256 {
        bail!("its SHA-256 is {hash}, expected {}", file.sha256);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Name, manifest};
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    const NAMES: [&str; 4] = ["train-images", "train-labels", "test-images", "test-labels"];

    fn content(name: &str) -> Vec<u8> {
        name.repeat(100).into_bytes()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn manifest() -> Manifest {
        let entry = |table: &str, name: &str| {
            let hash: String = Sha256::digest(content(name)).iter().map(|byte| format!("{byte:02x}")).collect();
            format!("[{table}]\nname = \"{name}\"\nbytes = {}\nsha256 = \"{hash}\"\n", content(name).len())
        };
        let tables = ["train.images", "train.labels", "test.images", "test.labels"];
        let entries: String = tables.iter().zip(NAMES).map(|(table, name)| entry(table, name)).collect();
        let head = "name = \"tiny\"\ntitle = \"Tiny\"\nsource = \"its home\"\nlicense = \"MIT\"\nattribution = \"us\"\n";
        manifest::parse(&format!("{head}{entries}")).unwrap()
    }

    #[test]
    fn files_are_copied_once_gzipped_or_plain() {
        let (source, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (n, name) in NAMES.into_iter().enumerate() {
            match n % 2 {
                0 => fs::write(source.path().join(format!("{name}.gz")), gzip(&content(name))).unwrap(),
                _ => fs::write(source.path().join(name), content(name)).unwrap(),
            }
        }
        assert_eq!(fetch(&manifest(), source.path(), folder.path()).unwrap(), 4);
        assert_eq!(fs::read(folder.path().join("train-images.gz")).unwrap(), gzip(&content("train-images")));
        assert_eq!(fs::read(folder.path().join("train-labels")).unwrap(), content("train-labels"));
        assert_eq!(fetch(&manifest(), source.path(), folder.path()).unwrap(), 0);

        fs::write(folder.path().join("train-labels"), "damaged").unwrap();
        assert_eq!(fetch(&manifest(), source.path(), folder.path()).unwrap(), 1);
        assert_eq!(fs::read(folder.path().join("train-labels")).unwrap(), content("train-labels"));
    }

    #[test]
    fn a_damaged_gzipped_file_never_hides_a_good_plain_one() {
        let (source, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        NAMES.iter().for_each(|name| fs::write(source.path().join(name), content(name)).unwrap());
        let damaged = || fs::write(folder.path().join("train-images.gz"), "damaged").unwrap();

        damaged(); // alone: the source has the plain file only
        assert_eq!(fetch(&manifest(), source.path(), folder.path()).unwrap(), 4);
        assert!(!folder.path().join("train-images.gz").exists());

        damaged(); // beside the good one: nothing needs to be taken from anywhere
        assert_eq!(fetch(&manifest(), Path::new("nowhere"), folder.path()).unwrap(), 0);
        assert!(!folder.path().join("train-images.gz").exists());
        assert_eq!(fs::read(folder.path().join("train-images")).unwrap(), content("train-images"));
    }

    #[test]
    fn what_is_wrong_is_named_and_nothing_is_written() {
        let mut longer = content("test-labels");
        longer.push(0);
        let mut other = content("test-labels");
        other[0] ^= 1;
        let cut = gzip(&content("test-labels"))[..20].to_vec();
        let cases: [(Option<Vec<u8>>, &str); 5] = [
            (None, "there is no test-labels.gz and no test-labels"),
            (Some(gzip(&longer)), "it holds more than the expected 1100 bytes"),
            (Some(gzip(&content("x"))), "it holds fewer than the expected 1100 bytes"),
            (Some(gzip(&other)), "its SHA-256 is"),
            (Some(cut), "it does not decompress"),
        ];
        for (bytes, reason) in cases {
            let (source, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            for name in &NAMES[..3] {
                fs::write(source.path().join(name), content(name)).unwrap();
            }
            if let Some(bytes) = bytes {
                fs::write(source.path().join("test-labels.gz"), bytes).unwrap();
            }
            let message = format!("{:#}", fetch(&manifest(), source.path(), folder.path()).unwrap_err());
            for part in [reason, "apt-get install dataset-tiny", "--from FOLDER", "its home", "test-labels"] {
                assert!(message.contains(part), "{part} in {message}");
            }
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn the_manifests_of_the_repository_are_read() {
        for name in [Name::Mnist, Name::FashionMnist] {
            let manifest: Manifest =
                manifest::read(&files::root().join("datasets").join(name.as_str()).join("manifest.toml")).unwrap();
            assert_eq!((manifest.name.as_str(), manifest.files().count()), (name.as_str(), 4));
            assert!(manifest.files().all(|file| file.sha256.len() == 64 && file.bytes > 10_000));
        }
    }

    #[test]
    fn the_shipped_mnist_is_whole() {
        let folder = files::root().join("datasets/mnist");
        let manifest: Manifest = manifest::read(&folder.join("manifest.toml")).unwrap();
        for file in manifest.files() {
            verified(&folder, file).unwrap();
        }
    }
}
