// The camera in the page where the browser allows it, the phone's own camera app elsewhere.
export function setUpCamera(button, dialog, send, otherwise, complain) {
  const video = dialog.querySelector("video");
  let stream = null;

  button.addEventListener("click", async () => {
    if (!navigator.mediaDevices?.getUserMedia || matchMedia("(hover: none)").matches) return otherwise();
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch {
      return complain("The camera is not available, or its use was not allowed.");
    }
    video.srcObject = stream;
    dialog.showModal();
  });
  dialog.addEventListener("close", () => {
    stream?.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
  });
  dialog.querySelector("#close").addEventListener("click", () => dialog.close());
  dialog.querySelector("#take").addEventListener("click", () => {
    const canvas = document.createElement("canvas");
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d").drawImage(video, 0, 0);
    dialog.close();
    canvas.toBlob((blob) => send(new File([blob], "photo.jpg", { type: "image/jpeg" })), "image/jpeg", 0.92);
  });
}
