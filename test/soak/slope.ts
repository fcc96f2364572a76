// How fast something grows, by least squares, and how sure that is. Samples of one process resemble
// their neighbours, so that the error is widened by how much they do: without that, a slow wave
// passes for a slope.

export interface Sample {
  readonly atMs: number
  readonly value: number
}

export interface Slope {
  readonly perHour: number
  /** Half of the 95 % interval. */
  readonly plusMinus: number
  readonly hours: number
}

export function slopeOf(samples: readonly Sample[]): Slope {
  const n = samples.length
  const hours = samples.map(({ atMs }) => atMs / 3_600_000)
  const values = samples.map(({ value }) => value)
  const meanHour = mean(hours)
  const meanValue = mean(values)
  let [sxx, sxy] = [0, 0]
  for (let at = 0; at < n; at += 1) {
    sxx += ((hours[at] ?? 0) - meanHour) ** 2
    sxy += ((hours[at] ?? 0) - meanHour) * ((values[at] ?? 0) - meanValue)
  }
  const perHour = sxx === 0 ? 0 : sxy / sxx
  const residuals = values.map(
    (value, at) => value - meanValue - perHour * ((hours[at] ?? 0) - meanHour),
  )
  const square = sum(residuals.map((each) => each ** 2))
  const neighbours = sum(residuals.slice(1).map((each, at) => each * (residuals[at] ?? 0)))
  // Lag-1 autocorrelation; so many independent samples are these worth.
  const likeness = square === 0 ? 0 : Math.min(0.99, Math.max(0, neighbours / square))
  const worth = Math.max(3, (n * (1 - likeness)) / (1 + likeness))
  const error = sxx === 0 ? 0 : Math.sqrt(square / (worth - 2) / (sxx * (worth / n)))
  const span = (hours.at(-1) ?? 0) - (hours[0] ?? 0)
  return { perHour, plusMinus: 1.96 * error, hours: span }
}

const sum = (values: readonly number[]): number => values.reduce((total, each) => total + each, 0)
const mean = (values: readonly number[]): number => sum(values) / Math.max(1, values.length)
