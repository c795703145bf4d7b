// Expected risks of linear models: the recursion of clcore.theory, in the browser.
// Same names, same shapes; tests/book/test_explorer.py compares the two.
"use strict";

const recursion = (() => {
  const sum = (values) => values.reduce((total, value) => total + value, 0);

  /**
   * What chance does to an update with m trainable parameters on n samples: the share `pull` of
   * what is to be learned, the amplification `noise`, and how energy stays in its block (`own`)
   * or spreads over all (`spread`). Null where the expectation is infinite, |m - n| <= 1.
   */
  function moments(m, n) {
    if (m === 0) return { pull: 0, noise: 0, own: 0, spread: 0 };
    if (Math.abs(m - n) <= 1) return null;
    if (m < n) return { pull: 1, noise: m / (n - m - 1), own: 1, spread: 0 };
    const spread = (n * (m - n)) / (m * (m - 1) * (m + 2));
    return {
      pull: n / m,
      noise: n / (m - n - 1),
      own: (n * (n + 2)) / (m * (m + 2)) - spread,
      spread,
    };
  }

  /**
   * How task k is learned from the risks before it, `before[b][i]`: the trainable blocks' share
   * `pull` and the expected energy of the update in each, in their order. Null where infinite.
   */
  function learning(problem, before, k, trainable) {
    const m = sum(trainable.map((b) => problem.sizes[b]));
    const chance = moments(m, problem.samples[k]);
    if (!chance) return null;
    const toLearn = trainable.map((b) => before[b][k]);
    const frozen = sum(before.map((block) => block[k])) - sum(toLearn);
    const noise = problem.noise[k] ** 2 + Math.max(frozen, 0);
    const energy = trainable.map(
      (b, j) =>
        chance.own * toLearn[j] +
        problem.sizes[b] * (chance.spread * sum(toLearn) + (m && (chance.noise * noise) / m)),
    );
    return { pull: chance.pull, energy };
  }

  /** The risks `[b][i]` after task k was learned by `update`. Null where infinite. */
  function step(problem, before, k, update) {
    const learned = learning(problem, before, k, update.trainable);
    if (!learned) return null;
    const after = before.map((block) => [...block]);
    update.trainable.forEach((b, j) => {
      const gain = update.gains[j];
      before[b].forEach((risk, i) => {
        const drift = problem.distances[b][k][i] - before[b][k] - risk;
        after[b][i] += gain * learned.pull * drift + gain ** 2 * learned.energy[j];
      });
    });
    return after;
  }

  /**
   * Expected excess risks `[t][b][i]`: block b's part of the risk on task i after t updates.
   * Null if one of the updates has |m - n| <= 1.
   */
  function expectedRisks(problem, updates) {
    const risks = [problem.initial];
    for (const [k, update] of updates.entries()) {
      const after = step(problem, risks[k], k, update);
      if (!after) return null;
      risks.push(after);
    }
    return risks;
  }

  /** Risk after the last task less risk after its own, for every task. */
  function forgetting(risks) {
    const total = risks.map((blocks) => blocks[0].map((_, i) => sum(blocks.map((row) => row[i]))));
    return total.at(-1).map((risk, i) => risk - total[i + 1][i]);
  }

  /** Mean risk over all tasks after the last one. */
  function generalizationError(risks) {
    const last = risks.at(-1);
    return sum(last.map(sum)) / last[0].length;
  }

  /**
   * The gradient-direction law: the gain in [0, 1] of each trainable block that makes the mean
   * risk on tasks 0 to k least after task k is learned. Null where infinite.
   */
  function bestGains(problem, before, k, trainable) {
    const learned = learning(problem, before, k, trainable);
    if (!learned) return null;
    return trainable.map((b, j) => {
      const alignment = before[b]
        .slice(0, k + 1)
        .map((risk, i) => before[b][k] + risk - problem.distances[b][k][i]);
      const slope = (learned.pull * sum(alignment)) / (k + 1);
      // Without energy there is nothing to learn, and every gain is as good as none.
      return slope > 0 ? Math.min(slope / (2 * learned.energy[j]), 1) : 0;
    });
  }

  return { moments, step, expectedRisks, forgetting, generalizationError, bestGains };
})();
