//! Plots as SVG: lines over two axes, each linear or logarithmic. Text in, text out.

use plotters::backend::SVGBackend;
use plotters::chart::{ChartBuilder, SeriesLabelPosition};
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::{IntoDrawingArea, IntoLogRange, LineSeries, PathElement};
use plotters::style::{Color, RGBColor, WHITE};

use crate::cli::quantity::{show_count, show_latency};

/// The size of a plot in pixels; a page scales it.
const SIZE: (u32, u32) = (900, 360);

/// Colours that colour-blind readers can tell apart (Okabe and Ito).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
];

/// What an axis counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// Seconds.
    Seconds,
    /// Microseconds, on a logarithmic scale.
    Latency,
    /// Records a second.
    Rate,
    /// A percentile `p`, as `1 / (1 - p)` on a logarithmic scale.
    Percentile,
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Its points; those with a coordinate that is not finite, or not above 0 on a logarithmic axis, are left out.
    pub points: Vec<(f64, f64)>,
}

/// A plot.
#[derive(Debug, Clone, PartialEq)]
pub struct Plot {
    /// What stands above it.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The lines.
    pub series: Vec<Series>,
}

impl Axis {
    fn is_logarithmic(self) -> bool {
        matches!(self, Self::Latency | Self::Percentile)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Latency => "latency",
            Self::Rate => "records/s",
            Self::Percentile => "percentile",
        }
    }

    fn show(self, value: f64) -> String {
        match self {
            Self::Seconds => format!("{value:.0}"),
            Self::Latency => show_latency(value),
            Self::Rate => show_count(value),
            Self::Percentile => {
                let percentile = 100.0 - 100.0 / value;
                format!("{}", (percentile * 1e6).round() / 1e6)
            }
        }
    }

    /// Whether a point can be placed on it.
    fn takes(self, value: f64) -> bool {
        value.is_finite() && (!self.is_logarithmic() || value > 0.0)
    }

    /// From where to where it goes; `None` without points.
    fn range(self, values: impl Iterator<Item = f64> + Clone) -> Option<(f64, f64)> {
        let least = values.clone().fold(f64::INFINITY, f64::min);
        let most = values.fold(f64::NEG_INFINITY, f64::max);
        if !least.is_finite() || !most.is_finite() {
            return None;
        }
        Some(if self.is_logarithmic() {
            (least / 1.1, (most * 1.1).max(least * 2.0))
        } else {
            (0.0, (most * 1.05).max(1e-9))
        })
    }
}

impl Plot {
    /// The plot as an SVG element; `None` if there is nothing to show, or it cannot be drawn.
    pub fn to_svg(&self) -> Option<String> {
        let placed = || {
            let points = self.series.iter().flat_map(|series| &series.points);
            points.copied().filter(|point| self.takes(*point))
        };
        let x = self.x.range(placed().map(|point| point.0))?;
        let y = self.y.range(placed().map(|point| point.1))?;
        let mut svg = String::new();
        let drawn = match (self.x.is_logarithmic(), self.y.is_logarithmic()) {
            (false, false) => self.draw(&mut svg, x.0..x.1, y.0..y.1),
            (false, true) => self.draw(&mut svg, x.0..x.1, (y.0..y.1).log_scale()),
            (true, false) => self.draw(&mut svg, (x.0..x.1).log_scale(), y.0..y.1),
            (true, true) => self.draw(&mut svg, (x.0..x.1).log_scale(), (y.0..y.1).log_scale()),
        };
        drawn.ok().map(|()| svg)
    }

    fn takes(&self, point: (f64, f64)) -> bool {
        self.x.takes(point.0) && self.y.takes(point.1)
    }

    fn draw<X, Y>(&self, svg: &mut String, x: X, y: Y) -> Result<(), Box<dyn std::error::Error>>
    where
        X: AsRangedCoord<Value = f64>,
        Y: AsRangedCoord<Value = f64>,
        X::CoordDescType: ValueFormatter<f64>,
        Y::CoordDescType: ValueFormatter<f64>,
    {
        let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(&self.title, ("sans-serif", 18))
            .margin(10)
            .x_label_area_size(40)
            .y_label_area_size(80)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .x_desc(self.x.name())
            .y_desc(self.y.name())
            .x_label_formatter(&|value| self.x.show(*value))
            .y_label_formatter(&|value| self.y.show(*value))
            .light_line_style(WHITE)
            .draw()?;
        for (series, colour) in self.series.iter().zip(COLOURS.iter().cycle()) {
            let points = series.points.iter().copied();
            let points = points.filter(|point| self.takes(*point));
            let style = colour.stroke_width(2);
            chart
                .draw_series(LineSeries::new(points, style))?
                .label(&series.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .draw()?;
        area.present()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(x: Axis, y: Axis, points: Vec<(f64, f64)>) -> Plot {
        let name = "one <line>".to_owned();
        Plot {
            title: "a plot".to_owned(),
            x,
            y,
            series: vec![Series { name, points }],
        }
    }

    #[test]
    fn every_pair_of_axes_can_be_drawn() {
        for x in [Axis::Seconds, Axis::Rate, Axis::Percentile] {
            for y in [Axis::Rate, Axis::Latency] {
                let points = vec![(1.0, 10.0), (10.0, 200.0), (100.0, 30_000.0)];
                let svg = plot(x, y, points).to_svg().unwrap();
                assert!(svg.starts_with("<svg") && svg.contains("polyline"));
                assert!(svg.contains("a plot") && svg.contains("one &lt;line&gt;"));
            }
        }
    }

    #[test]
    fn points_that_cannot_be_placed_are_left_out() {
        let nothing = plot(
            Axis::Seconds,
            Axis::Latency,
            vec![(0.0, 0.0), (1.0, f64::NAN)],
        );
        assert_eq!(nothing.to_svg(), None);
        let one = plot(Axis::Seconds, Axis::Latency, vec![(0.0, 0.0), (1.0, 5.0)]);
        assert!(one.to_svg().is_some());
    }

    #[test]
    fn percentiles_are_shown_as_people_write_them() {
        assert_eq!(Axis::Percentile.show(2.0), "50");
        assert_eq!(Axis::Percentile.show(100.0), "99");
        assert_eq!(Axis::Percentile.show(10_000.0), "99.99");
    }
}
