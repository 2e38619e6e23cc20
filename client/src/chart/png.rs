//! An SVG of [`super::sheet`] as PNG, for those who cannot show the SVG.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use resvg::{
    tiny_skia::{Pixmap, Transform},
    usvg::{
        Options, Tree,
        fontdb::{Database, Family, Query},
    },
};

/// Pixels for each unit of the SVG, so that text stays sharp on dense screens.
const SCALE: f32 = 2.0;
/// Families that are looked for first, in this order. Without one of them any font serves.
const FAMILIES: [&str; 3] = ["DejaVu Sans", "Liberation Sans", "Noto Sans"];

/// Draws the SVG with the system's fonts.
///
/// # Errors
/// If the system has no font at all, or the SVG cannot be drawn.
pub fn png(svg: &str) -> Result<Vec<u8>> {
    let mut fonts = Database::new();
    fonts.load_system_fonts();
    draw(svg, fonts)
}

fn draw(svg: &str, mut fonts: Database) -> Result<Vec<u8>> {
    let family = family(&fonts).context(
        "this machine has no font, so charts cannot be drawn as PNG; install one with: apt-get install fonts-dejavu-core",
    )?;
    fonts.set_sans_serif_family(&family);
    let options = Options { fontdb: Arc::new(fonts), font_family: family, ..Options::default() };
    let tree = Tree::from_str(svg, &options).context("the chart cannot be read back")?;
    let size = tree.size().to_int_size().scale_by(SCALE).context("the chart has no size")?;
    let mut pixels = Pixmap::new(size.width(), size.height()).context("the chart has no size")?;
    resvg::render(&tree, Transform::from_scale(SCALE, SCALE), &mut pixels.as_mut());
    pixels.encode_png().context("the chart cannot be encoded")
}

/// The family to write with; nothing if there is no font.
fn family(fonts: &Database) -> Option<String> {
    let wanted = FAMILIES.map(Family::Name);
    let face = fonts.query(&Query { families: &wanted, ..Query::default() }).and_then(|id| fonts.face(id));
    let face = face.or_else(|| fonts.faces().next())?;
    face.families.first().map(|(name, _)| name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SVG: &str =
        "<svg xmlns='http://www.w3.org/2000/svg' width='40' height='20'><rect width='40' height='20'/></svg>";

    #[test]
    fn without_any_font_the_error_names_the_package() {
        let error = draw(SVG, Database::new()).unwrap_err().to_string();
        assert!(error.contains("fonts-dejavu-core"), "{error}");
    }

    #[test]
    fn with_the_fonts_of_the_system_an_svg_becomes_a_png_of_twice_its_size() {
        let mut fonts = Database::new();
        fonts.load_system_fonts();
        match png(SVG) {
            Ok(png) => {
                assert_eq!(&png[1..4], b"PNG");
                assert_eq!((&png[16..20], &png[20..24]), (&80_u32.to_be_bytes()[..], &40_u32.to_be_bytes()[..]));
            }
            Err(error) => assert!(fonts.is_empty(), "{error}"),
        }
    }
}
