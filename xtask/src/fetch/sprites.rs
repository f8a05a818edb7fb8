//! Unknown Horizons: sprites of a game, drawn from four sides, as a folder of classes.
//!
//! The package has a folder for each object, in it one for each action, in that one for each angle, and in there the frames:
//! `gfx/buildings/merchants/as_bath/idle/45/0.png`. An object is a class. Its images are the four views that every object has,
//! each the first frame of the object's first action of [`ACTIONS`].
//!
//! Left out are, in this order:
//! - objects whose path has a word of [`JUNK`]: ground, walls and streets, which look alike, and placeholders;
//! - objects without such an action, or without one of the views;
//! - objects with a view of less than [`SMALLEST`] pixels along its longer side;
//! - objects with two views of equal pixels, because retrieving one by the other is trivial;
//! - objects that share a view with an earlier object (in the order of paths), because an image cannot be of two classes.

use super::manifest::Sprites;
use crate::files;
use anyhow::{Context, Result, anyhow, bail, ensure};
use image::{ImageFormat, ImageReader, Rgb, RgbImage, Rgba, RgbaImage, imageops};
use rankle_cli::answer;
use rankle_files::DraftFolder;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

/// Angles of the views, in degrees.
const VIEWS: [u16; 4] = [45, 135, 225, 315];
/// Actions in order of preference: standing still, grown or full, at work.
const ACTIONS: [&str; 3] = ["idle", "idle_full", "work"];
/// Words in paths of the ground, of its pieces, and of placeholders.
const JUNK: [&str; 5] = ["base", "wall", "streets", "placeholder", "preview"];
/// Smallest size along the longer side, in pixels.
const SMALLEST: u32 = 16;
/// Gray level of transparent pixels and of the surroundings of an object.
const BACKGROUND: u8 = 128;
/// Folder of the images, in the folder of the dataset.
const IMAGES: &str = "images";

/// Makes the images from the package, or from a folder to which it was unpacked, unless they exist.
///
/// # Errors
/// One line with the mistake and the remedy.
pub(super) fn get(manifest: &Sprites, from: Option<&Path>, folder: &Path) -> Result<()> {
    let output = folder.join(IMAGES);
    let (title, shown) = (&manifest.title, files::shown(&output));
    if output.is_dir() && read_back(&output).is_ok_and(|classes| hash(&classes) == manifest.sha256) {
        return answer(format_args!("{title} was there already, and is what it should be: {shown}"));
    }
    let source = from.unwrap_or(Path::new(&manifest.system_folder));
    let classes = classes(&graphics(source).with_context(|| format!("{title} cannot be fetched"))?)
        .map_err(|error| anyhow!("{title} cannot be fetched: {error:#}"))?;
    let found = hash(&classes);
    ensure!(
        found == manifest.sha256,
        "{title} cannot be fetched: the images in {} are not those of version {}: their SHA-256 is {found}, expected {}; {}",
        source.display(),
        manifest.version,
        manifest.sha256,
        advice()
    );
    write(&classes, &manifest.credits(), folder, &output)?;
    let images: usize = classes.values().map(|images| images.len()).sum();
    answer(format_args!(
        "{title}: {images} images of {} classes in {shown} ({}, {}); pass --dataset folder:{shown}",
        classes.len(),
        manifest.license,
        manifest.attribution
    ))
}

fn advice() -> &'static str {
    "install Debian's package (`apt-get install unknown-horizons`), or unpack it (`apt-get download unknown-horizons`, `dpkg -x \
     unknown-horizons_*.deb FOLDER`) and run `cargo xtask fetch unknown-horizons --from FOLDER`"
}

/// Folder of the sprites, found from the folder above it or from the root of the unpacked package.
fn graphics(source: &Path) -> Result<PathBuf> {
    let places = ["gfx", "content/gfx", "usr/share/unknown-horizons/content/gfx"].map(|place| source.join(place));
    let found = places.into_iter().find(|place| place.is_dir());
    found.with_context(|| format!("there is no folder gfx in {}; {}", source.display(), advice()))
}

/// Images by class and file name.
type Classes = BTreeMap<String, BTreeMap<String, RgbImage>>;

/// All objects that are not left out.
fn classes(graphics: &Path) -> Result<Classes> {
    let mut objects = Vec::new();
    collect(graphics, Path::new(""), &mut objects)?;
    objects.sort();
    objects.dedup(); // an object with several of the actions was collected several times
    let (mut classes, mut known) = (Classes::new(), HashSet::new());
    for object in objects {
        let Some(frames) = frames(&graphics.join(&object))? else { continue };
        let sprites: Vec<RgbaImage> = frames.iter().map(|frame| visible(frame)).collect::<Result<_>>()?;
        if sprites.iter().any(|sprite| sprite.width().max(sprite.height()) < SMALLEST) {
            continue;
        }
        let views: Vec<RgbImage> = sprites.iter().map(on_a_square).collect();
        let own: HashSet<_> = views.iter().map(|view| (view.width(), view.as_raw().clone())).collect();
        if own.len() < views.len() || !own.is_disjoint(&known) {
            continue;
        }
        known.extend(own);
        let images = VIEWS.iter().map(|angle| format!("{angle:03}.png")).zip(views).collect();
        if classes.insert(name(&object), images).is_some() {
            bail!("two objects in {} are called {}", graphics.display(), name(&object));
        }
    }
    Ok(classes)
}

/// Collects the paths of all folders with a folder of an action, relative to `root`, except those left out by name.
fn collect(root: &Path, folder: &Path, objects: &mut Vec<PathBuf>) -> Result<()> {
    let full = root.join(folder);
    let entries = fs::read_dir(&full).and_then(|entries| {
        entries.map(|entry| entry.and_then(|entry| Ok((entry.file_name(), entry.file_type()?.is_dir())))).collect()
    });
    let entries: Vec<_> = entries.with_context(|| format!("cannot read {}", full.display()))?;
    for name in entries.into_iter().filter_map(|(name, is_folder)| is_folder.then_some(name)) {
        let text = name.to_string_lossy();
        if ACTIONS.contains(&&*text) {
            objects.push(folder.to_owned());
        } else if !text.split('_').any(|word| JUNK.contains(&word)) {
            collect(root, &folder.join(&name), objects)?;
        }
    }
    Ok(())
}

/// The first frame of each view; `None` if one is missing.
fn frames(object: &Path) -> Result<Option<Vec<PathBuf>>> {
    let Some(action) = ACTIONS.iter().map(|action| object.join(action)).find(|action| action.is_dir()) else { return Ok(None) };
    VIEWS.iter().map(|angle| first(&action.join(angle.to_string()))).collect()
}

/// The first PNG file in a folder, by name; `None` if there is no such file or folder.
fn first(folder: &Path) -> Result<Option<PathBuf>> {
    if !folder.is_dir() {
        return Ok(None);
    }
    let entries = fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let entries: Vec<PathBuf> = entries.with_context(|| format!("cannot read {}", folder.display()))?;
    Ok(entries.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "png")).min())
}

/// The smallest rectangle of a sprite that holds all pixels with alpha above 0.
fn visible(path: &Path) -> Result<RgbaImage> {
    let image = read(path)?.into_rgba8();
    let mut corners = [u32::MAX, u32::MAX, 0, 0];
    for (x, y, _) in image.enumerate_pixels().filter(|(_, _, Rgba([.., alpha]))| *alpha > 0) {
        corners = [corners[0].min(x), corners[1].min(y), corners[2].max(x + 1), corners[3].max(y + 1)];
    }
    let [left, top, right, bottom] = corners;
    Ok(match right.checked_sub(left).zip(bottom.checked_sub(top)) {
        Some((width, height)) => imageops::crop_imm(&image, left, top, width, height).to_image(),
        None => RgbaImage::new(0, 0),
    })
}

fn read(path: &Path) -> Result<image::DynamicImage> {
    let mut reader = ImageReader::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    reader.set_format(ImageFormat::Png);
    reader.decode().with_context(|| format!("{} is no whole PNG file", path.display()))
}

/// The sprite in the middle of a square of background, 8/7 as wide, so that the center crop of a photograph holds all of it.
fn on_a_square(sprite: &RgbaImage) -> RgbImage {
    let side = (8 * sprite.width().max(sprite.height())).div_ceil(7);
    let (left, top) = ((side - sprite.width()) / 2, (side - sprite.height()) / 2);
    let mut square = RgbImage::from_pixel(side, side, Rgb([BACKGROUND; 3]));
    for (x, y, &Rgba([red, green, blue, alpha])) in sprite.enumerate_pixels() {
        let over = |value: u8| {
            let (alpha, value) = (u32::from(alpha), u32::from(value));
            ((alpha * value + (255 - alpha) * u32::from(BACKGROUND) + 127) / 255) as u8
        };
        square.put_pixel(left + x, top + y, Rgb([red, green, blue].map(over)));
    }
    square
}

/// Class name, as `bath-merchants` for `buildings/merchants/as_bath`: the last part of a path alone is not unique.
fn name(object: &Path) -> String {
    let mut parts = object.iter().rev().map(|part| part.to_string_lossy());
    let (object, group) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    format!("{}-{group}", object.strip_prefix("as_").unwrap_or(&object))
}

/// SHA-256 over the names, sizes and pixels of all images in the order of names, whatever the compression of their files.
fn hash(classes: &Classes) -> String {
    let mut hash = Sha256::new();
    for (class, images) in classes {
        for (name, image) in images {
            hash.update(format!("{class}/{name} {} {}\n", image.width(), image.height()));
            hash.update(image.as_raw());
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Images from an earlier run.
fn read_back(output: &Path) -> Result<Classes> {
    let names = |folder: &Path| -> Result<Vec<PathBuf>> {
        Ok(fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?)
    };
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut classes = Classes::new();
    for folder in names(output)?.iter().filter(|path| path.is_dir()) {
        let images = names(folder)?.iter().map(|path| Ok((name(path), read(path)?.into_rgb8()))).collect::<Result<_>>()?;
        classes.insert(name(folder), images);
    }
    Ok(classes)
}

/// Writes all images into a temporary folder first: an interrupt leaves no incomplete folder.
fn write(classes: &Classes, credits: &str, folder: &Path, output: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot write {}", folder.display()))?;
    let temporary = DraftFolder::within(folder).with_context(|| format!("cannot write into {}", folder.display()))?;
    let new = temporary.path().join(IMAGES);
    for (class, images) in classes {
        for (name, image) in images {
            let mut bytes = Vec::new();
            image.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).context("an image is no PNG")?;
            files::write(&new.join(class).join(name), bytes)?;
        }
    }
    files::write(&new.join("credits.toml"), credits)?;
    replace(output, &new, temporary)
}

/// Moves the folder `new`, which is in `temporary`, to `output`. After a failure the old folder is moved back.
fn replace(output: &Path, new: &Path, temporary: DraftFolder) -> Result<()> {
    let old = temporary.path().join("old");
    let is_there = output.symlink_metadata().is_ok();
    if is_there {
        fs::rename(output, &old).with_context(|| format!("cannot replace {}", output.display()))?;
    }
    let renamed = fs::rename(new, output).with_context(|| format!("cannot write {}", output.display()));
    if renamed.is_err() && is_there && fs::rename(&old, output).is_err() {
        // Under a name that no later run removes as a leftover.
        let kept = output.with_extension("kept");
        temporary.keep(&kept).with_context(|| format!("{} is lost", output.display()))?;
        let kept = kept.join("old");
        return renamed.with_context(|| format!("what was in {} is now {}: move it back", output.display(), kept.display()));
    }
    renamed?;
    rankle_files::sync_folder(rankle_files::folder_of(output)).with_context(|| format!("cannot write {}", output.display()))
}

#[cfg(test)]
mod tests {
    use super::super::manifest;
    use super::*;

    /// A frame of 40×30 pixels, transparent except for an opaque rectangle of one color, 28 pixels wide.
    fn frame(color: u8) -> RgbaImage {
        RgbaImage::from_fn(40, 30, |x, y| {
            if (6..34).contains(&x) && (5..25).contains(&y) { Rgba([color, 7, 200, 255]) } else { Rgba([9, 9, 9, 0]) }
        })
    }

    fn save(folder: &Path, object: &str, action: &str, frames: [RgbaImage; 4]) {
        for (angle, first) in VIEWS.iter().zip(frames) {
            let folder = folder.join("content/gfx").join(object).join(action).join(angle.to_string());
            fs::create_dir_all(&folder).unwrap();
            first.save(folder.join("0001.png")).unwrap();
            frame(255).save(folder.join("0002.png")).unwrap();
        }
    }

    /// A package with an object for each reason to keep it or leave it out.
    fn package() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let four = |first: u8| [0, 1, 2, 3].map(|view| frame(first + view));
        save(folder.path(), "buildings/merchants/as_bath", "idle", four(10));
        save(folder.path(), "buildings/merchants/as_bath", "work", four(20));
        save(folder.path(), "terrain/trees/as_birch0", "idle_full", four(30));
        save(folder.path(), "units/ships/as_bath", "idle", four(40));
        save(folder.path(), "base/moderate/as_grass", "idle", four(50));
        save(folder.path(), "buildings/wall/as_wall", "idle", four(60));
        save(folder.path(), "terrain/mountains/as_preview_mine", "idle", four(70));
        save(folder.path(), "units/as_attacker", "attack", four(80));
        save(folder.path(), "terrain/trees/as_still", "idle", [90, 91, 92, 90].map(frame));
        save(folder.path(), "units/ships/as_twin", "idle", [100, 101, 102, 43].map(frame));
        save(folder.path(), "units/as_small", "idle", [0, 1, 2, 3].map(|_| RgbaImage::from_pixel(15, 9, Rgba([1, 2, 3, 255]))));
        save(folder.path(), "units/as_empty", "idle", [0, 1, 2, 3].map(|_| RgbaImage::new(30, 30)));
        save(folder.path(), "units/as_halved", "idle", four(110));
        fs::remove_dir_all(folder.path().join("content/gfx/units/as_halved/idle/225")).unwrap();
        folder
    }

    #[test]
    fn classes_are_the_objects_with_four_sides() {
        let package = package();
        let classes = classes(&graphics(package.path()).unwrap()).unwrap();
        assert_eq!(classes.keys().collect::<Vec<_>>(), ["bath-merchants", "bath-ships", "birch0-trees"]);
        let bath = &classes["bath-merchants"];
        assert_eq!(bath.keys().collect::<Vec<_>>(), ["045.png", "135.png", "225.png", "315.png"]);
        // 28×20 visible pixels in a square of 32, from the first frame of the first action.
        let image = &bath["225.png"];
        assert_eq!(image.dimensions(), (32, 32));
        let at = |x, y| image.get_pixel(x, y).0;
        assert_eq!([at(2, 6), at(29, 25)], [[12, 7, 200]; 2]);
        assert_eq!([at(1, 6), at(2, 5), at(30, 25), at(29, 26)], [[BACKGROUND; 3]; 4]);
    }

    #[test]
    fn half_transparent_pixels_are_mixed_with_the_background() {
        let sprite = RgbaImage::from_pixel(14, 1, Rgba([0, 255, 128, 51]));
        assert_eq!(on_a_square(&sprite).get_pixel(8, 7).0, [102, 153, 128]);
    }

    fn manifest(sha256: &str, system_folder: &Path) -> Sprites {
        let head = "title = \"Sprites\"\nversion = \"1\"\nsource = \"its home\"\nlicense = \"CC\"\nattribution = \"us\"\n";
        let folder = system_folder.display();
        manifest::parse(&format!("{head}system_folder = '{folder}'\nsha256 = \"{sha256}\"\n")).unwrap()
    }

    #[test]
    fn images_are_written_checked_and_mended() {
        let (package, folder) = (package(), tempfile::tempdir().unwrap());
        let wanted = hash(&classes(&graphics(package.path()).unwrap()).unwrap());
        get(&manifest(&wanted, package.path()), None, folder.path()).unwrap();
        let images = folder.path().join(IMAGES);
        assert_eq!(fs::read_to_string(images.join("credits.toml")).unwrap(), manifest(&wanted, package.path()).credits());
        assert_eq!(hash(&read_back(&images).unwrap()), wanted);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "something was left beside the images");

        // Complete images need no package; one wrong image makes all be made again.
        get(&manifest(&wanted, Path::new("nowhere")), None, folder.path()).unwrap();
        fs::copy(images.join("bath-ships/045.png"), images.join("bath-ships/135.png")).unwrap();
        assert!(get(&manifest(&wanted, Path::new("nowhere")), None, folder.path()).is_err());
        get(&manifest(&wanted, Path::new("nowhere")), Some(package.path()), folder.path()).unwrap();
        assert_eq!(hash(&read_back(&images).unwrap()), wanted);
    }

    #[test]
    fn what_cannot_be_replaced_stays() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join(IMAGES);
        fs::create_dir(&output).unwrap();
        fs::write(output.join("mine.png"), "mine").unwrap();
        let draft = || DraftFolder::within(folder.path()).unwrap();
        let error = replace(&output, &folder.path().join("none"), draft()).unwrap_err().to_string();
        assert!(error.starts_with("cannot write") && error.ends_with(IMAGES), "{error}");
        assert_eq!(fs::read_to_string(output.join("mine.png")).unwrap(), "mine");
        let temporary = draft();
        let new = temporary.path().join("new");
        fs::create_dir(&new).unwrap();
        replace(&output, &new, temporary).unwrap();
        assert_eq!(fs::read_dir(&output).unwrap().count(), 0);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_wrong_is_named_and_nothing_is_written() {
        let (package, folder, empty) = (package(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let says = |sha256: &str, source: &Path| {
            let message = format!("{:#}", get(&manifest(sha256, source), None, folder.path()).unwrap_err());
            assert!(message.lines().count() == 1 && fs::read_dir(folder.path()).unwrap().count() == 0, "{message}");
            message
        };
        let missing = says("00", empty.path());
        for part in ["there is no folder gfx", "apt-get install unknown-horizons", "dpkg -x", "--from FOLDER"] {
            assert!(missing.contains(part), "{part} in {missing}");
        }
        assert!(says("00", package.path()).contains("are not those of version 1: their SHA-256 is "));
        fs::write(package.path().join("content/gfx/units/ships/as_bath/idle/45/0001.png"), "no image").unwrap();
        assert!(says("00", package.path()).contains("0001.png is no whole PNG file"));
    }

    #[test]
    fn the_manifest_of_the_repository_is_read() {
        let manifest: Sprites = manifest::read(&files::root().join("datasets/unknown-horizons/manifest.toml")).unwrap();
        assert_eq!((manifest.sha256.len(), manifest.license.as_str()), (64, "CC BY-SA 3.0"));
    }
}
