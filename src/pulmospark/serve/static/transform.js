// Where an image lies on the stage: scale and offset. Pure functions, no DOM.

const SCALE_MIN = 0.05;
const SCALE_MAX = 32;

/** The largest placement that shows the whole image in the middle of the stage. */
export function fitted(image, stage) {
  const scale = Math.min(stage.width / image.columns, stage.height / image.rows) || 1;
  return centred(image, stage, scale);
}

function centred(image, stage, scale) {
  return {
    scale,
    x: (stage.width - image.columns * scale) / 2,
    y: (stage.height - image.rows * scale) / 2,
  };
}

/** Zoom by a factor; the point of the image under (x, y) of the stage stays there. */
export function zoomed(place, factor, x, y) {
  const scale = Math.min(Math.max(place.scale * factor, SCALE_MIN), SCALE_MAX);
  const change = scale / place.scale;
  return { scale, x: x - (x - place.x) * change, y: y - (y - place.y) * change };
}

/** Moved by some pixels of the stage; at least a tenth of the image stays on it. */
export function moved(place, dx, dy, image, stage) {
  const bound = (at, size, room) => Math.min(Math.max(at, 0.1 * room - size), 0.9 * room);
  return {
    scale: place.scale,
    x: bound(place.x + dx, image.columns * place.scale, stage.width),
    y: bound(place.y + dy, image.rows * place.scale, stage.height),
  };
}
