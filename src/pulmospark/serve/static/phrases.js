// The service's codes in plain words; an unknown code is shown as it is.

import { visible } from "./dom.js";

const REJECTS = {
  empty: "The file is empty.",
  not_an_image: "The file is not an image.",
  unsupported_format: "The image format is not supported.",
  truncated: "The file ends before the image does: the copy is incomplete.",
  unreadable: "The file is damaged and cannot be decoded.",
  vanished: "The file was gone when it was to be read.",
  too_many_bytes: "The file is too large.",
  too_many_pixels: "The image has too many pixels.",
  too_slow: "Decoding the image would take too long.",
  too_small: "The image is too small to show anything.",
  cmyk: "The image has printing colours: it is a scan of a page.",
  animated: "The file has several frames where one image was expected.",
  no_pixels: "The DICOM file contains no image.",
  other_modality: "The DICOM file is neither an X-ray image nor a CT slice.",
  ended_its_worker: "The image ended the process that decoded it.",
  other_body_part: "The DICOM header names a part of the body other than the chest.",
  not_a_phantom: "The model was trained on phantoms and refuses other images.",
  bad_name: "The file's name is not valid text.",
};

/** Why a file was rejected, as a sentence. */
export function rejectText(reason) {
  return REJECTS[reason] ?? `Rejected: ${visible(reason ?? "no reason given")}`;
}

const SOURCES = { page: "this page", rest: "REST", dicom: "DICOM", watch: "folder" };

/** Where an image came from. */
export function sourceText(source) {
  if (source?.startsWith("job:")) return "folder (batch job)";
  return SOURCES[source] ?? visible(source ?? "");
}

const METHODS = { cam: "class activation map", grad_cam: "Grad-CAM", hires_cam: "HiResCAM", attention: "attention, gradient-weighted" };

/** How a heat map was made. */
export function methodText(method) {
  return METHODS[method] ?? visible(method);
}

export const VERDICTS = { fail: "Failed", warn: "Warning", "not assessable": "Not assessable", pass: "Passed" };

/** What to do about a failed request. */
export function remedyText(kind) {
  return {
    gone: "Check that `pulmospark serve` is running; this page tries again by itself.",
    busy: "The server has too much to do; try again in a moment.",
    token: "Give the token that the server was started with.",
    server: "The server's log says more.",
  }[kind] ?? "";
}
