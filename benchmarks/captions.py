"""What stands above and beside the tables of measured figures; `tables.py` makes their rows."""

QUALITY = """
**Restored PSNR over Pillow's JPEG at equal bytes**, in dB, on Kodak24, with the same network and weights in both arms.
The quality of Pillow's file, which sets the bytes, is 50 / 75 / 90, and 10 / 20 / 40 for denoising. Bytes saved are
those at equal restored PSNR. Plain MSE is the control: the same encoder, knowing nothing of the network, with one
level for all blocks, at the options that suit it best on these very pictures.

| task | network | gain in dB | mean, and range over images | bytes saved | plain MSE |
|---|---|---|---|---|---|
"""
FLOPS = """
**FLOPs saved at equal bytes and equal restored PSNR**: how much less a narrower network takes on our file than the
family's widest on Pillow's of the same format, at the same three qualities as in the other tables. Beside it what a
narrower one saves on Pillow's own file when the restored PSNR may fall by 0.05 dB: it shows how flat the family is.

| format | task | widest network | FLOPs saved | mean | by losing 0.05 dB | images on which it is reached |
|---|---|---|---|---|---|---|
"""

PEERS = """
**Against other JPEG encoders at equal bytes**: mean restored PSNR of ours over each, in dB, at the same three qualities
of Pillow's file. mozjpeg writes the smaller of its baseline and progressive files, trellis on, and so do we. Pillow and
mozjpeg have the better of 4:2:0 and 4:4:4 on each image by its restored score; ours and plain MSE choose by what they
foresee in super-resolution, and halve chroma in the others. "Best" is the best of Pillow and these on each image. Plain
MSE is as above, with the 95 % interval of the mean over images. The last column is what the predicted sensitivities
keep of the gain that measured ones have, where that can be told from zero.

| task | network | images | mozjpeg | its flat table | PSNR-HVS | jpegli | beats best | over plain MSE | of measured |
|---|---|---|---|---|---|---|---|---|---|
"""

SIMILARITY = """
**SSIM beside it**: mean SSIM of the restored luma, ours over each, times 1000; the same files.

| task | network | images | Pillow | mozjpeg | with its flat table | with PSNR-HVS | jpegli |
|---|---|---|---|---|---|---|---|
"""

GUIDED_PEERS = """
**Against them with the clean original at the sender**, at equal bytes: mean restored PSNR of the guided file over each,
in dB, on how many of the images it is better than the best of them, and what it has over our own file from the
predicted profile: mean, and the least on any image; and the mean in SSIM, in hundredths.

| task | network | images | passes | Pillow | mozjpeg | flat | PSNR-HVS | jpegli | beats best | gain | least | SSIM |
|---|---|---|---|---|---|---|---|---|---|---|---|---|
"""

CONTROLS = """
**What sensitivities add**: restored PSNR of ours over two controls at equal bytes, in dB, with the 95 % interval of the
mean over images. Plain MSE is as above. The other control has all options that were tuned for the network, and one
level for all blocks with the weights of plain MSE; lambda is tried at a quarter, at half and double too, and the best
counts. What is left over it is owed to sensitivities; the last column is what predicted ones keep of that. Where these
options suit sensitivities only, as in deblurring, it is more than the gain over plain MSE, the better control.

| task | network | images | over plain MSE | owed to sensitivities | of measured |
|---|---|---|---|---|---|
"""

FORMATS = """
**In other formats**: restored PSNR over the format's usual encoder at equal bytes, in dB, on Kodak24, at three
qualities of it: Pillow's WebP of method 4, pillow-heif's HEIC, Pillow's AVIF. Uniform is the control: the same encoder
with one step for all blocks.

| format | task | network | images | qualities | gain in dB | mean, and range over images | bytes saved | uniform |
|---|---|---|---|---|---|---|---|---|
"""

GUIDED = """
**With the clean original at the sender**, at equal bytes over our own file from the predicted profile, in dB, on
Kodak24, at the same qualities of Pillow's file or those that the command names: mean, and the least gain on any image.
Each row is one network that restores; the file was encoded for those named, and what the others get shows what is left
when the receiver is not known. The last column is what the original itself has in Pillow's largest JPEG of as many
bytes, no network run, over the guided file restored.

| task | encoded for | restored by | gain | least gain | images | passes | the original itself |
|---|---|---|---|---|---|---|---|
"""

TAUGHT = """
**With a heavy network at the sender**, and no clean original: a light network's file follows what the heavy one, its
teacher, makes of the image. At equal bytes, on Kodak24, at the same qualities, what each has over the light network on
its file without a teacher, in dB: with the teacher, and the least on any image; with itself as its teacher; the heavy
network itself, on a file of its own; and the heavy network's picture in Pillow's largest JPEG of as many bytes, no
network run. FLOPs are those of the light network, as a share of the heavy one's.

| task | restored by | taught by | FLOPs | gain | least | by itself | heavy | its picture | images | passes |
|---|---|---|---|---|---|---|---|---|---|---|
"""

TIME = """
**Time of encode() to a budget** for a photograph of 3840x2160, predicted profile and all files that it takes, at the
same qualities of Pillow's file: over one pass of mozjpeg (libvips, baseline, trellis on), and over the bisection by
which that finds the same bytes.

| task | network | threads | seconds | over one pass | over its bisection |
|---|---|---|---|---|---|
"""
TIME_BESIDE = """
The first call of a process takes {first:.1f} s with nothing compiled, and {kept:.1f} s where an earlier process has
left compiled code. Resident memory, torch and the photograph included, comes to {memory} for {megapixels} megapixels.
In one thread a megapixel takes {each} s in pictures of {sizes} megapixels: in small ones more files are written before
the budget is met, since their sizes are not foreseen, and whole chroma, where it is chosen, takes longer. A folder goes
{folder:.2f} times as fast on two processors as on one once the workers have started, which takes {start:.1f} s, and
with that {whole:.2f} times for {pictures} pictures.
"""
