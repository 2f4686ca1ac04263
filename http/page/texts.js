// Figures and moments, as people read them.

export const NOTHING = "–";

const whole = new Intl.NumberFormat("en");

export function rate(value) {
  if (value === null || value === undefined) return NOTHING;
  return value > 0 && value < 10 ? value.toFixed(1) : whole.format(Math.round(value));
}

export const count = (value) => (value === undefined ? NOTHING : whole.format(value));

export const milliseconds = (value) =>
  value === null || value === undefined ? NOTHING : value < 10 ? value.toFixed(2) : value.toFixed(1);

export function moment(at) {
  if (!at) return NOTHING;
  const date = new Date(at);
  const today = date.toDateString() === new Date().toDateString();
  return today ? date.toLocaleTimeString() : date.toLocaleString();
}

export function modelName(model) {
  return model.isPolicy ? `policy ${model.name}` : model.name;
}
