//! Cost over size as an SVG for the docs: the measurements, the law fitted to them, and the floor,
//! on logarithmic axes, where linear growth is a line at 45 degrees.

use std::path::Path;

use plotters::prelude::{
    BLACK, ChartBuilder, Circle, Color, IntoDrawingArea, IntoLogRange, LineSeries, PathElement,
    RGBColor, SVGBackend, SeriesLabelPosition, WHITE,
};

use super::report::count;
use super::scale::{LARGE, Point, law};
use crate::Failure;

const SIZE: (u32, u32) = (800, 500);
const OURS: RGBColor = RGBColor(31, 119, 180);
const FLOOR: RGBColor = RGBColor(127, 127, 127);
/// The margin around the figures.
const ROOM: f64 = 1.5;

pub(crate) fn write(path: &Path, points: &[Point]) -> Result<(), Failure> {
    draw(path, points).map_err(|error| format!("{}: {error}", path.display()))
}

fn draw(path: &Path, points: &[Point]) -> Result<(), Box<dyn std::error::Error>> {
    let costs = points.iter().flat_map(|point| [point.cost, point.floor]);
    // A cost of 0 has no place on a logarithmic axis.
    let costs: Vec<f64> = costs.filter(|cost| *cost > 0.0).collect();
    let least = costs.iter().copied().fold(f64::INFINITY, f64::min);
    let most = costs.iter().copied().fold(0.0, f64::max);
    let (Some(first), Some(last), true) = (points.first(), points.last(), least < most) else {
        return Err("too few points for a plot".into());
    };
    let (first, last) = (first.servers as f64, last.servers as f64);
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption("CPU for one snapshot, one worker, four processes", ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(
            (first / ROOM..last * ROOM).log_scale(),
            (least / ROOM..most * ROOM).log_scale(),
        )?;
    chart
        .configure_mesh()
        .x_desc("servers")
        .y_desc("milliseconds of CPU")
        .x_label_formatter(&|servers| count(*servers))
        .y_label_formatter(&|cost| label(*cost))
        .draw()?;
    if let Some(law) = law(points, LARGE) {
        let line = [first, last].map(|servers| (servers, law.at(servers)));
        let inside = line.into_iter().map(|(x, y)| (x, y.clamp(least / ROOM, most * ROOM)));
        // The law is not drawn outside the picture.
        if line.iter().all(|(_, y)| (least / ROOM..most * ROOM).contains(y)) {
            chart
                .draw_series(LineSeries::new(inside, OURS.mix(0.4)))?
                .label(format!("servers ^ {:.2}", law.exponent))
                .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], OURS.mix(0.4)));
        }
    }
    let series = [("haproxystats-process", OURS), ("floor", FLOOR)];
    for (name, color) in series {
        let cost = |point: &Point| if color == OURS { point.cost } else { point.floor };
        let seen = points.iter().map(|point| (point.servers as f64, cost(point)));
        let seen = seen.filter(|(_, cost)| *cost > 0.0);
        chart
            .draw_series(seen.map(|place| Circle::new(place, 4, color.filled())))?
            .label(name)
            .legend(move |(x, y)| Circle::new((x + 10, y), 4, color.filled()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .border_style(BLACK.mix(0.3))
        .background_style(WHITE)
        .draw()?;
    area.present()?;
    Ok(())
}

/// A number in its shortest form: 0.05, 2, 1,000.
fn label(cost: f64) -> String {
    if cost < 1.0 { format!("{cost:.2}") } else { count(cost) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_has_every_point_and_series() {
        let path = std::env::temp_dir().join(format!("xtask-plot-{}.svg", std::process::id()));
        let points = [10, 1000, 10_000, 100_000].map(|servers| {
            Point::for_test(servers, 0.007 * servers as f64, 0.001 * servers as f64)
        });
        write(&path, &points).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        // A point and a mark in the legend for each series.
        assert_eq!(text.matches("<circle").count(), 2 * (points.len() + 1));
        for words in ["haproxystats-process", "floor", "servers ^ 1.00", "10,000"] {
            assert!(text.contains(words), "{words} is missing");
        }
    }

    #[test]
    fn no_picture_is_made_of_nothing() {
        write(Path::new("/nonexistent/scale.svg"), &[]).unwrap_err();
    }
}
