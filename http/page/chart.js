// Charts over time, by uPlot.

const HEIGHT = 190;
// A chart that has just begun does not stretch its first second over its whole width.
const LEAST_SECONDS = 60;

const clock = (at) => new Date(at * 1000).toLocaleTimeString([], { hourCycle: "h23" });

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export class Chart {
  #place;
  #series;
  #plot = null;
  #data = [];
  #marks = [];

  /** `series` are `{key, label, colour}`, the colour a custom property of the style sheet. */
  constructor(place, series) {
    this.#place = place;
    this.#series = series;
    new ResizeObserver(() => this.#plot?.setSize(this.#size())).observe(place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#redraw());
  }

  /** Show points; `said` tells those who cannot see them. */
  show(points, said) {
    this.#data = ["at", ...this.#series.map(({ key }) => key)].map((key) =>
      points.map((point) => point[key] ?? null),
    );
    this.#marks = points.filter(
      (point, index) => index && point.version && point.version !== points[index - 1].version,
    );
    this.#place.setAttribute("aria-label", said);
    if (!this.#plot) this.#redraw();
    else this.#plot.setData(this.#data);
  }

  #redraw() {
    this.#plot?.destroy();
    this.#plot = new uPlot(this.#options(), this.#data, this.#place);
  }

  #size() {
    return { width: Math.max(this.#place.clientWidth, 200), height: HEIGHT };
  }

  #options() {
    const lines = { stroke: colour("--line"), width: 1 };
    const axis = { stroke: colour("--muted"), grid: lines, ticks: lines };
    const numbers = { minimumFractionDigits: 0, maximumFractionDigits: 2 };
    return {
      ...this.#size(),
      scales: {
        x: { range: (_, least, most) => [Math.min(least, most - LEAST_SECONDS), most] },
        y: { range: (_, __, most) => [0, Math.max(most * 1.1, 0.01)] },
      },
      axes: [{ ...axis, space: 76, values: (_, all) => all.map(clock) }, { ...axis, size: 56 }],
      series: [
        { label: "time", value: (_, at) => (at ? clock(at) : "–") },
        ...this.#series.map((each) => ({
          label: each.label,
          stroke: colour(each.colour),
          width: 2,
          dash: each.dash,
          spanGaps: false,
          points: { show: false },
          value: (_, value) => value?.toLocaleString("en", numbers) ?? "–",
        })),
      ],
      hooks: { draw: [(plot) => this.#drawMarks(plot)] },
    };
  }

  /** Show where another version came on stage. */
  #drawMarks(plot) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = colour("--muted");
    ctx.setLineDash([4, 4]);
    ctx.textAlign = "right";
    ctx.font = `${11 * devicePixelRatio}px system-ui`;
    for (const { at, version } of this.#marks) {
      const x = plot.valToPos(at, "x", true);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      ctx.fillText(`v${version}`, x - 3, bbox.top + 12 * devicePixelRatio);
    }
    ctx.restore();
  }
}
