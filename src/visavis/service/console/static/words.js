// Numbers and moments in words.

const NUMBER = new Intl.NumberFormat("en");
const THREE = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

/** "1 in 10,000" of a rate; "1 in 3.5" where whole numbers would be too coarse. */
export function oneIn(rate) {
  if (!(rate > 0)) return "none";
  if (rate >= 1) return "all";
  const each = 1 / rate;
  return `1 in ${each < 10 ? THREE.format(Number(each.toPrecision(2))) : NUMBER.format(
    Number(Math.round(each).toPrecision(2)))}`;
}

/** "0.01 %" of a rate. */
export function percent(rate) {
  return `${THREE.format(Number((100 * rate).toPrecision(2)))}\u00a0%`;
}

/** How many of so many, in words that do not round something to nothing. */
export function expected(count) {
  if (count >= 10) return NUMBER.format(Math.round(count));
  return count >= 0.01 ? THREE.format(Number(count.toPrecision(2))) : "less than 0.01";
}

export const whole = (count) => NUMBER.format(count);

export const distance = (d) => d.toFixed(3);

export function count(number, one, many = `${one}s`) {
  return `${NUMBER.format(number)} ${number === 1 ? one : many}`;
}

/** A moment as the reader's clock shows it; the exact one is kept in the element. */
export function moment(iso, { time = true } = {}) {
  if (!iso) return "-";
  const at = new Date(iso);
  const two = (n) => String(n).padStart(2, "0");
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  const node = document.createElement("time");
  node.dateTime = iso;
  node.textContent = time ? `${day} ${two(at.getHours())}:${two(at.getMinutes())}` : day;
  node.title = at.toISOString();
  return node;
}

/** The end of a day of a date field, as the service wants it; null for an empty field. */
export function endOf(day) {
  return day ? new Date(`${day}T23:59:59`).toISOString() : null;
}

/** What a date field shows of a moment. */
export function dayOf(iso) {
  return iso ? moment(iso, { time: false }).textContent : "";
}
