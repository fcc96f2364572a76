/** US dollars, to the last digit that is one. */
export function usd(microUsd: number): string {
  const whole = Math.trunc(microUsd / 1_000_000)
  const decimals = String(Math.abs(microUsd % 1_000_000)).padStart(6, '0')
  return `$${whole}.${decimals.replace(/0{1,4}$/, '')}`
}
