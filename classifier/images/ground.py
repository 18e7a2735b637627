"""What lies behind transparent pixels: white, or black where white would swallow the drawing."""

from PIL import Image, ImageChops, ImageStat

# A drawing this bright on average (of 255, its transparent parts apart) is lost on white.
_LIGHT = 230


def laid_over(image: Image.Image, alpha: Image.Image) -> Image.Image:
    """Lay a gray or color image over a ground where ``alpha`` (gray, 255 is opaque) asks for it.

    The ground is white, as pages and slides are. Under a drawing that is nearly white itself it
    is black.
    """
    lowest, highest = alpha.getextrema()
    if lowest == 255:
        return image
    ground = "white"
    if highest:
        seen = ImageStat.Stat(ImageChops.multiply(image.convert("L"), alpha)).sum[0]
        if seen * 255 >= _LIGHT * ImageStat.Stat(alpha).sum[0]:
            ground = "black"
    canvas = Image.new(image.mode, image.size, ground)
    canvas.paste(image, mask=alpha)
    return canvas
