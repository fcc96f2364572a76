// How commands write counts, money and times.

export function grouped(count: number): string {
  return String(Math.trunc(count)).replace(/\B(?=(?:\d{3})+$)/g, ',')
}

/** Computed with integers to the last digit: money is never a float. */
export function dollars(microUsd: number, digits: 4 | 6): string {
  const unit = 10 ** digits
  const units = Math.round(microUsd / 10 ** (6 - digits))
  const cents = String(units % unit).padStart(digits, '0')
  const whole = Math.floor(units / unit)
  return `${digits === 4 ? grouped(whole) : whole}.${cents}`
}

export function seconds(ms: number): string {
  return ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`
}
