package kit

// Place is where the cursor of a field stands when its text is drawn by
// Area.Bytes in lines of a width.
func (f *Field) Place(m Marks, width int) (x, y int) {
	if width < 1 {
		return 0, 0
	}
	x, y = lay(f.text[:f.at], width, m.ASCII, func(int, int, glyph) {})
	if x >= width {
		return 0, y + 1
	}
	return x, y
}
