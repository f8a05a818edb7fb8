//! A plotters backend that records shapes and writes them as SVG and PDF. Letters are outlines of the font inside this crate, so
//! that a file looks the same in every viewer and no font has to be installed or embedded.

use crate::canvas::FONT_FILE;
use ab_glyph::{Font, FontRef, GlyphId, OutlineCurve};
use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind, FontTransform,
};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt::Write;

/// Plotters units per point: positions have one decimal.
pub(crate) const UNITS: u32 = 10;
/// Points per em at font size 1 of plotters.
const EM: f32 = 1.0 / 1.24;

type Position = (f32, f32);

/// A part of a path, in points; in the outline of a glyph, in font units.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Segment {
    Move(Position),
    Line(Position),
    Cubic(Position, Position, Position),
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Paint {
    Fill,
    /// A line of this width in points.
    Stroke(f32),
}

/// A line of text.
#[derive(Clone, Debug, PartialEq)]
struct Text {
    words: String,
    /// Glyphs with their positions along the line, in font units.
    glyphs: Vec<(GlyphId, f32)>,
    origin: Position,
    /// Cosine and sine of the clockwise rotation of the line.
    turn: (f32, f32),
    /// Points per font unit.
    scale: f32,
}

#[derive(Clone, Debug, PartialEq)]
enum Shape {
    Path(Vec<Segment>, Paint),
    Text(Text),
}

/// A drawing of shapes, later ones on top. It is the surface of plotters, with [`UNITS`] units per point.
pub(crate) struct Drawing {
    /// Width and height in points.
    size: (u32, u32),
    font: FontRef<'static>,
    shapes: Vec<(Shape, (u8, u8, u8))>,
}

impl Drawing {
    /// An empty drawing with a width and a height in points.
    pub(crate) fn new(size: (u32, u32)) -> Self {
        let font = FontRef::try_from_slice(FONT_FILE).expect("the font inside this crate is a font");
        Self { size, font, shapes: Vec::new() }
    }

    /// The drawing as SVG. Screen readers read `description` aloud.
    pub(crate) fn to_svg(&self, title: &str, description: &str) -> String {
        let (width, height) = self.size;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             role=\"img\" stroke-linejoin=\"round\">\n<title>{}</title>\n<desc>{}</desc>\n<defs>\n",
            escaped(title),
            escaped(description)
        );
        for glyph in self.glyphs() {
            let path = path_data(&self.outline(glyph));
            let _ = writeln!(svg, "<path id=\"g{}\" d=\"{path}\"/>", glyph.0);
        }
        svg += "</defs>\n";
        for (shape, (red, green, blue)) in &self.shapes {
            let color = format!("#{red:02x}{green:02x}{blue:02x}");
            let _ = match shape {
                Shape::Path(segments, Paint::Fill) => writeln!(svg, "<path fill=\"{color}\" d=\"{}\"/>", path_data(segments)),
                Shape::Path(segments, Paint::Stroke(width)) => {
                    let path = path_data(segments);
                    writeln!(svg, "<path fill=\"none\" stroke=\"{color}\" stroke-width=\"{width}\" d=\"{path}\"/>")
                }
                Shape::Text(text) => {
                    let [a, b, c, d, e, f] = text.matrix();
                    let words = escaped(&text.words);
                    let _ =
                        write!(svg, "<g aria-label=\"{words}\" fill=\"{color}\" transform=\"matrix({a} {b} {c} {d} {e} {f})\">");
                    for (glyph, x) in &text.glyphs {
                        let _ = write!(svg, "<use href=\"#g{}\" x=\"{x}\"/>", glyph.0);
                    }
                    writeln!(svg, "</g>")
                }
            };
        }
        svg + "</svg>\n"
    }

    /// The drawing as a PDF of one page.
    pub(crate) fn to_pdf(&self, title: &str) -> Vec<u8> {
        use pdf_writer::types::LineJoinStyle;
        use pdf_writer::{Content, Filter, Finish, Pdf, Rect, Ref, TextStr};
        let (width, height) = (self.size.0 as f32, self.size.1 as f32);
        let mut content = Content::new();
        // The y axis of a PDF points up.
        content.transform([1.0, 0.0, 0.0, -1.0, 0.0, height]).set_line_join(LineJoinStyle::RoundJoin);
        for (shape, (red, green, blue)) in &self.shapes {
            let [red, green, blue] = [red, green, blue].map(|&part| f32::from(part) / 255.0);
            match shape {
                Shape::Path(segments, Paint::Fill) => {
                    content.set_fill_rgb(red, green, blue);
                    add_path(&mut content, segments);
                    content.fill_nonzero();
                }
                Shape::Path(segments, Paint::Stroke(width)) => {
                    content.set_stroke_rgb(red, green, blue).set_line_width(*width);
                    add_path(&mut content, segments);
                    content.stroke();
                }
                Shape::Text(text) => {
                    content.save_state().set_fill_rgb(red, green, blue).transform(text.matrix());
                    for &(glyph, x) in &text.glyphs {
                        content.save_state().transform([1.0, 0.0, 0.0, 1.0, x, 0.0]);
                        add_path(&mut content, &self.outline(glyph));
                        content.fill_nonzero().restore_state();
                    }
                    content.restore_state();
                }
            }
        }
        let content = deflated(content.finish().as_slice());
        let [catalog, pages, page, stream, info] = [1, 2, 3, 4, 5].map(Ref::new);
        let mut pdf = Pdf::new();
        pdf.catalog(catalog).pages(pages);
        pdf.pages(pages).kids([page]).count(1);
        let mut sheet = pdf.page(page);
        sheet.media_box(Rect::new(0.0, 0.0, width, height)).parent(pages).contents(stream);
        sheet.resources();
        sheet.finish();
        pdf.stream(stream, &content).filter(Filter::FlateDecode);
        pdf.document_info(info).title(TextStr(title));
        pdf.finish()
    }

    /// Glyphs in use.
    fn glyphs(&self) -> BTreeSet<GlyphId> {
        let texts = self.shapes.iter().filter_map(|(shape, _)| if let Shape::Text(text) = shape { Some(text) } else { None });
        texts.flat_map(|text| text.glyphs.iter().map(|&(glyph, _)| glyph)).collect()
    }

    /// Outline of a glyph in font units, with the y axis up; empty for a space.
    fn outline(&self, glyph: GlyphId) -> Vec<Segment> {
        let curves = self.font.outline(glyph).map(|outline| outline.curves).unwrap_or_default();
        let (mut segments, mut at) = (Vec::new(), None);
        for curve in curves {
            let (from, segment, to) = match curve {
                OutlineCurve::Line(a, b) => (a, Segment::Line((b.x, b.y)), b),
                OutlineCurve::Quad(a, control, b) => {
                    // A quadratic curve as a cubic one.
                    let toward = |end: f32, control: f32| end + (control - end) * 2.0 / 3.0;
                    let first = (toward(a.x, control.x), toward(a.y, control.y));
                    let second = (toward(b.x, control.x), toward(b.y, control.y));
                    (a, Segment::Cubic(first, second, (b.x, b.y)), b)
                }
                OutlineCurve::Cubic(a, first, second, b) => {
                    (a, Segment::Cubic((first.x, first.y), (second.x, second.y), (b.x, b.y)), b)
                }
            };
            if at != Some(from) {
                segments.extend(at.map(|_| Segment::Close));
                segments.push(Segment::Move((from.x, from.y)));
            }
            segments.push(segment);
            at = Some(to);
        }
        segments.extend(at.map(|_| Segment::Close));
        segments
    }

    /// Adds a shape unless it is fully transparent; any other color is drawn opaque.
    fn add(&mut self, shape: Shape, color: BackendColor) {
        if color.alpha > 0.0 {
            self.shapes.push((shape, color.rgb));
        }
    }
}

impl Text {
    /// Transformation from font units, with the y axis up, to points.
    fn matrix(&self) -> [f32; 6] {
        let ((cos, sin), scale) = (self.turn, self.scale);
        [cos * scale, sin * scale, sin * scale, -cos * scale, self.origin.0, self.origin.1]
    }
}

/// Converts a position from plotters units to points.
fn points((x, y): BackendCoord) -> Position {
    (x as f32 / UNITS as f32, y as f32 / UNITS as f32)
}

/// A path along `positions`, closed if it ends at its start.
fn path(positions: impl IntoIterator<Item = BackendCoord>) -> Vec<Segment> {
    let positions: Vec<BackendCoord> = positions.into_iter().collect();
    let mut segments: Vec<Segment> = positions.iter().map(|&position| Segment::Line(points(position))).collect();
    if let (Some(&first), Some(&last)) = (positions.first(), positions.last()) {
        segments[0] = Segment::Move(points(first));
        if positions.len() > 2 && first == last {
            segments.pop();
            segments.push(Segment::Close);
        }
    }
    segments
}

/// The `d` attribute of a path in SVG.
fn path_data(segments: &[Segment]) -> String {
    let mut data = String::new();
    for segment in segments {
        let _ = match segment {
            Segment::Move((x, y)) => write!(data, "M{x} {y}"),
            Segment::Line((x, y)) => write!(data, "L{x} {y}"),
            Segment::Cubic((a, b), (c, d), (x, y)) => write!(data, "C{a:.0} {b:.0} {c:.0} {d:.0} {x} {y}"),
            Segment::Close => write!(data, "Z"),
        };
    }
    data
}

fn add_path(content: &mut pdf_writer::Content, segments: &[Segment]) {
    for segment in segments {
        match *segment {
            Segment::Move((x, y)) => content.move_to(x, y),
            Segment::Line((x, y)) => content.line_to(x, y),
            Segment::Cubic((a, b), (c, d), (x, y)) => content.cubic_to(a, b, c, d, x, y),
            Segment::Close => content.close_path(),
        };
    }
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    let written = std::io::Write::write_all(&mut encoder, bytes).and_then(|()| encoder.finish());
    written.expect("memory takes every byte")
}

/// Escapes a text for XML and drops control characters, which XML does not allow.
fn escaped(text: &str) -> String {
    let text: String = text.chars().filter(|letter| !letter.is_control()).collect();
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

type Recorded = Result<(), DrawingErrorKind<Infallible>>;

impl DrawingBackend for &mut Drawing {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        (self.size.0 * UNITS, self.size.1 * UNITS)
    }

    fn ensure_prepared(&mut self) -> Recorded {
        Ok(())
    }

    fn present(&mut self) -> Recorded {
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, color: BackendColor) -> Recorded {
        self.draw_rect((x, y), (x + 1, y + 1), &color, true)
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Recorded {
        self.draw_path([from, to], style)
    }

    fn draw_rect<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S, fill: bool) -> Recorded {
        let corners = [from, (to.0, from.1), to, (from.0, to.1), from];
        if fill { self.fill_polygon(corners, style) } else { self.draw_path(corners, style) }
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, positions: I, style: &S) -> Recorded {
        let width = style.stroke_width() as f32 / UNITS as f32;
        self.add(Shape::Path(path(positions), Paint::Stroke(width)), style.color());
        Ok(())
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, positions: I, style: &S) -> Recorded {
        self.add(Shape::Path(path(positions), Paint::Fill), style.color());
        Ok(())
    }

    fn draw_text<S: BackendTextStyle>(&mut self, words: &str, style: &S, at: BackendCoord) -> Recorded {
        let units_per_em = self.font.units_per_em().unwrap_or(1000.0);
        let em = style.size() as f32 / UNITS as f32 * EM;
        let (mut glyphs, mut width, mut last) = (Vec::new(), 0.0, None);
        for letter in words.chars() {
            let glyph = self.font.glyph_id(letter);
            width += last.map_or(0.0, |last| self.font.kern_unscaled(last, glyph));
            glyphs.push((glyph, width));
            width += self.font.h_advance_unscaled(glyph);
            last = Some(glyph);
        }
        let scale = em / units_per_em;
        let along = match style.anchor().h_pos {
            HPos::Left => 0.0,
            HPos::Center => -width * scale / 2.0,
            HPos::Right => -width * scale,
        };
        // From the anchor down to the baseline: half the height of an x if centered, as in SVG.
        let down = match style.anchor().v_pos {
            VPos::Top => 0.76 * em,
            VPos::Center => 0.27 * em,
            VPos::Bottom => -0.27 * em,
        };
        let turn @ (cos, sin) = match style.transform() {
            FontTransform::None => (1.0, 0.0),
            FontTransform::Rotate90 => (0.0, 1.0),
            FontTransform::Rotate180 => (-1.0, 0.0),
            FontTransform::Rotate270 => (0.0, -1.0),
        };
        let (x, y) = points(at);
        let origin = (x + cos * along - sin * down, y + sin * along + cos * down);
        self.add(Shape::Text(Text { words: words.to_owned(), glyphs, origin, turn, scale }), style.color());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plotters::prelude::{BLACK, IntoDrawingArea, IntoFont, Text as Label};
    use plotters::style::text_anchor::Pos;

    #[test]
    fn what_xml_does_not_take_is_escaped_or_left_out() {
        assert_eq!(escaped("a<b> & \"c\"\u{1}\n"), "a&lt;b&gt; &amp; &quot;c&quot;");
    }

    /// Matrix of a text at (100, 50) points with an anchor and a rotation.
    fn matrix(transform: FontTransform, pos: Pos) -> [f32; 6] {
        crate::canvas::know_font();
        let mut drawing = Drawing::new((200, 100));
        let style = (crate::canvas::FONT, 10 * UNITS).into_font().transform(transform).color(&BLACK).pos(pos);
        (&mut drawing).into_drawing_area().draw(&Label::new("HH", (1000, 500), style)).unwrap();
        let [(Shape::Text(text), _)] = &drawing.shapes[..] else { panic!("one text") };
        text.matrix()
    }

    #[test]
    fn texts_are_turned_about_their_anchor() {
        let (em, left) = (10.0 * EM, |v_pos| Pos { h_pos: HPos::Left, v_pos });
        let close = |found: [f32; 6], expected: [f32; 6]| {
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-3), "{found:?} is not {expected:?}");
        };
        let font = FontRef::try_from_slice(FONT_FILE).unwrap();
        let scale = em / font.units_per_em().unwrap();
        let width = 2.0 * font.h_advance_unscaled(font.glyph_id('H')) * scale;
        // The y axis points up in font units, down in points.
        close(matrix(FontTransform::None, left(VPos::Top)), [scale, 0.0, 0.0, -scale, 100.0, 50.0 + 0.76 * em]);
        let right = Pos { h_pos: HPos::Right, v_pos: VPos::Center };
        close(matrix(FontTransform::None, right), [scale, 0.0, 0.0, -scale, 100.0 - width, 50.0 + 0.27 * em]);
        // Rotated to the left, the text runs upward, and its lower side is to the right of the anchor.
        close(matrix(FontTransform::Rotate270, left(VPos::Top)), [0.0, -scale, -scale, 0.0, 100.0 + 0.76 * em, 50.0]);
        close(matrix(FontTransform::Rotate90, left(VPos::Top)), [0.0, scale, scale, 0.0, 100.0 - 0.76 * em, 50.0]);
    }

    #[test]
    fn outlines_are_closed_contours() {
        let drawing = Drawing::new((1, 1));
        let contours = |letter: char| {
            let outline = drawing.outline(drawing.font.glyph_id(letter));
            let count = |wanted: fn(&Segment) -> bool| outline.iter().filter(|segment| wanted(segment)).count();
            assert_eq!(count(|segment| matches!(segment, Segment::Move(_))), count(|segment| *segment == Segment::Close));
            count(|segment| *segment == Segment::Close)
        };
        assert_eq!(['o', '%', 'l', ' '].map(contours), [2, 5, 1, 0]);
    }
}
