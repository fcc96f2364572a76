// Welch's t: whether two samples of unequal variance have the same mean.

export function welch(as: readonly number[], bs: readonly number[]): number {
  const [a, b] = [moments(as), moments(bs)]
  return (a.mean - b.mean) / Math.sqrt(a.variance / as.length + b.variance / bs.length)
}

function moments(values: readonly number[]): { mean: number; variance: number } {
  const mean = values.reduce((sum, each) => sum + each, 0) / values.length
  const squares = values.reduce((sum, each) => sum + (each - mean) ** 2, 0)
  return { mean, variance: squares / (values.length - 1) }
}
